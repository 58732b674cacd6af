"""The page behind a read-only link: what it shows, and that it shows nothing else."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.jobs.permissions import Actor
from app.jobs.store import TRAIN, NewJob
from app.studio.runs.chosen import star
from app.studio.runs.links import RunLinks
from app.studio.studio_queue import StudioQueue
from app.ui.components.runs import run_view
from app.ui.links.routes import link_routes
from app.ui.middleware.login import FOR_EVERYBODY
from app.ui.middleware.routes import SHARED
from tests.app.ui.ended_runs import write_run, write_snapshot


@pytest.fixture
def client(queue: StudioQueue) -> TestClient:
    return TestClient(Starlette(routes=link_routes(RunLinks(queue))))


def test_a_link_shows_the_run_and_its_pictures(queue: StudioQueue, client: TestClient) -> None:
    write_run(queue.store.runs, "harbour")
    token = RunLinks(queue).make(queue.find("harbour"))
    answer = client.get(f"/shared/{token}")
    assert answer.status_code == 200 and answer.headers["x-robots-tag"] == "noindex, nofollow"
    assert "<h1>harbour</h1>" in answer.text and "data-ended" in answer.text and "300 steps" in answer.text
    pictures = re.findall(r'<img src="(shared/[^"]+)" alt="([^":]+): ', answer.text)
    assert {said for _, said in pictures} == {"Before training", "Newest"}
    for address, _ in pictures:
        assert client.get(f"/{address}").headers["content-type"] == "image/webp"
    assert str(queue.store.runs) not in answer.text


def test_a_link_tells_nothing_of_the_owner(queue: StudioQueue, client: TestClient) -> None:
    folder = write_run(queue.store.runs, "harbour")
    queue.store.add(NewJob(TRAIN, folder, owner="wilhelmina"), phase="ended")
    view = queue.find("harbour")
    assert "by wilhelmina" in run_view.kind(view, Actor("bob")), "people with a login see it"
    answer = client.get(f"/shared/{RunLinks(queue).make(view)}")
    assert answer.status_code == 200 and "300 steps" in answer.text
    assert "wilhelmina" not in answer.text + str(answer.headers) and "owner" not in answer.text


def test_a_link_shows_the_pictures_of_the_step_that_was_kept(queue: StudioQueue, client: TestClient) -> None:
    run = write_run(queue.store.runs, "harbour")
    address = f"/shared/{RunLinks(queue).make(queue.find('harbour'))}"
    newest = client.get(address).text
    write_snapshot(run, 150)
    star(run, 150)
    kept = client.get(address).text
    assert [re.findall("<figcaption>(.*?)<", page)[:2] for page in (newest, kept)] == [
        ["Before training", "Newest"],
        ["Before training", "Step 150"],
    ]
    shown = [re.findall('<img src="([^"]+)" alt="(.*?):', page) for page in (newest, kept)]
    assert [address for address, said in shown[0] if said == "Before training"] == [
        address for address, said in shown[1] if said == "Before training"
    ]
    after = [{address for address, said in each if said != "Before training"} for each in shown]
    assert len(after[0]) == len(after[1]) == 2 and not after[0] & after[1]
    assert all(client.get(f"/{each}").status_code == 200 for each in after[1])
    (run / "samples/step-00000150/01.png").unlink()
    assert len(re.findall("<h2>", client.get(address).text)) == 1, "a prompt without a picture of that step is left out"


@pytest.mark.parametrize("name", ["x.webp", "../links.json", "..%2f..%2flinks.json", "config.toml", "%00"])
def test_nothing_else_of_a_run_is_served(queue: StudioQueue, client: TestClient, name: str) -> None:
    write_run(queue.store.runs, "harbour")
    token = RunLinks(queue).make(queue.find("harbour"))
    assert client.get(f"/shared/{token}/{name}").status_code == 404


def test_without_a_link_there_is_nothing(queue: StudioQueue, client: TestClient) -> None:
    write_run(queue.store.runs, "harbour")
    for address in ("/shared/harbour", "/shared/", "/shared/x/y.webp"):
        assert client.get(address).status_code == 404
    assert SHARED in FOR_EVERYBODY
