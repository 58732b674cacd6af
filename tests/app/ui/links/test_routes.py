"""The page behind a read-only link: what it shows, and that it shows nothing else."""

from __future__ import annotations

import html
import json
import re
import shutil
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.jobs.permissions import Actor
from app.jobs.store import TRAIN, NewJob
from app.studio.runs.chosen import star
from app.studio.runs.links import RunLinks
from app.studio.runs.training_pictures import put_nearest
from app.studio.studio_queue import StudioQueue
from app.ui.components.runs import run_view
from app.ui.links.routes import link_routes
from app.ui.middleware.login import FOR_EVERYBODY
from app.ui.middleware.routes import SHARED
from tests.app.ui.ended_runs import PROMPTS, write_run, write_snapshot
from tests.trainers.data.pictures import scene


@pytest.fixture
def client(queue: StudioQueue) -> TestClient:
    return TestClient(Starlette(routes=link_routes(RunLinks(queue))))


def sheet_of(page: str) -> dict[str, Any]:
    """The contact sheet that a page draws."""
    (sheet,) = re.findall('data-sheet="(.*?)"', page)
    return json.loads(html.unescape(sheet))


def test_a_link_shows_the_run_and_its_pictures(queue: StudioQueue, client: TestClient) -> None:
    write_run(queue.store.runs, "harbour")
    token = RunLinks(queue).make(queue.find("harbour"))
    answer = client.get(f"/shared/{token}")
    assert answer.status_code == 200 and answer.headers["x-robots-tag"] == "noindex, nofollow"
    assert "<h1>harbour</h1>" in answer.text and "data-ended" in answer.text and "300 steps" in answer.text
    sheet = sheet_of(answer.text)
    assert sheet["prompts"] == [*PROMPTS] and [cell["step"] for cell in sheet["cells"]] == [0, 150, 300]
    assert sheet["width"] == 96 and not sheet["may"] and not sheet["draw"]
    for cell in sheet["cells"]:
        for name in (*cell["small"], *cell["whole"]):
            assert client.get(f"/{sheet['folder']}{name}").headers["content-type"] == "image/webp"
    assert (
        str(queue.store.runs) not in answer.text
        and queue.public_name(queue.find("harbour").job.folder) not in answer.text
    )


def test_a_link_has_no_training_picture(queue: StudioQueue, client: TestClient) -> None:
    run = write_run(queue.store.runs, "harbour")
    (run / "dataset").mkdir()
    scene(1).save(run / "dataset" / "a-boat.png")
    view = queue.find("harbour")
    picture, _ = put_nearest(run, "a boat", 0, queue.public(view))
    page = client.get(f"/shared/{RunLinks(queue).make(view)}").text
    sheet = sheet_of(page)
    assert sheet["trained"] == 0 and picture.name not in page
    assert client.get(f"/{sheet['folder']}{picture.name}").status_code == 404


def test_a_link_tells_nothing_of_the_owner(queue: StudioQueue, client: TestClient) -> None:
    folder = write_run(queue.store.runs, "harbour")
    queue.store.add(NewJob(TRAIN, folder, owner="wilhelmina"), phase="ended")
    view = queue.find("harbour")
    assert "by wilhelmina" in run_view.kind(view, Actor("bob")), "people with a login see it"
    answer = client.get(f"/shared/{RunLinks(queue).make(view)}")
    assert answer.status_code == 200 and "300 steps" in answer.text
    assert "wilhelmina" not in answer.text + str(answer.headers) and "owner" not in answer.text


def test_a_link_opens_at_the_step_that_was_kept(queue: StudioQueue, client: TestClient) -> None:
    run = write_run(queue.store.runs, "harbour")
    address = f"/shared/{RunLinks(queue).make(queue.find('harbour'))}"
    write_snapshot(run, 150)
    star(run, 150)
    kept = sheet_of(client.get(address).text)
    assert (kept["gives"], kept["starred"]) == (150, True)


def test_a_run_without_pictures_says_so(queue: StudioQueue, client: TestClient) -> None:
    run = write_run(queue.store.runs, "harbour")
    shutil.rmtree(run / "samples")
    page = client.get(f"/shared/{RunLinks(queue).make(queue.find('harbour'))}").text
    assert "This run has no pictures." in page and 'data-sheet=""' in page


@pytest.mark.parametrize(
    "name", ["x.webp", "../links.json", "..%2f..%2flinks.json", "config.toml", "%00", "harbour.safetensors"]
)
def test_nothing_else_of_a_run_is_served(queue: StudioQueue, client: TestClient, name: str) -> None:
    write_run(queue.store.runs, "harbour")
    view = queue.find("harbour")
    token, style = RunLinks(queue).make(view), queue.public(view) / "harbour.safetensors"
    style.write_bytes(b"a download")
    assert client.get(f"/shared/{token}/{name}").status_code == 404


def test_without_a_link_there_is_nothing(queue: StudioQueue, client: TestClient) -> None:
    write_run(queue.store.runs, "harbour")
    for address in ("/shared/harbour", "/shared/", "/shared/x/y.webp"):
        assert client.get(address).status_code == 404
    assert SHARED in FOR_EVERYBODY
