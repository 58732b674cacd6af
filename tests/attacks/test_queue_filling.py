"""One visitor who sends far more than can be done."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app.ui.server import Process
from tests.trainers.data.pictures import scene

PEOPLE = {"ann": "pear-tree", "bob": "plum-tree"}


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Process]:
    options = [word for name, password in PEOPLE.items() for word in ("--auth", f"{name}:{password}")]
    process = Process(tmp_path / "busy" / "outputs", *options)
    yield process
    process.stop()


def client_of(studio: Process, name: str) -> httpx.Client:
    client = httpx.Client(base_url=studio.url, timeout=120)
    assert client.post("login", data={"username": name, "password": PEOPLE[name]}).status_code == 200
    return client


def result_of(client: httpx.Client, name: str, *values: Any) -> str:
    """What an endpoint answers, by the queue."""
    event = client.post(f"gradio_api/call/{name}", json={"data": list(values)})
    assert event.status_code == 200, event.text
    return client.get(f"gradio_api/call/{name}/{event.json()['event_id']}").text


def test_others_go_on_while_one_fills_the_queue(busy: Process, tmp_path: Path) -> None:
    bob, ann = client_of(busy, "bob"), client_of(busy, "ann")
    call = {"data": ["a boat", {}, {"steps": 150}]}
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: bob.post("gradio_api/call/generate", json=call).status_code, range(100)))
    assert found.count(429) > 20 and set(found) == {200, 429}
    scene(1, (64, 64)).save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb") as file:
        (path,) = ann.post("gradio_api/upload", files={"files": ("a.png", file)}).json()
    sent = {"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
    taken = result_of(ann, "upload", [sent], "")
    assert "event: complete" in taken and '"a.png"' in taken
    refused = bob.post("gradio_api/run/predict", json={"data": [], "fn_index": 0})
    assert refused.status_code == 429 and "waiting" in refused.json()["detail"]
