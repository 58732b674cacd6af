"""Somebody who has a login, and knows by which words Gradio knows another person's page and calls."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app.ui.server import Process
from tests.app.ui.visitor import READY, add
from tests.trainers.data.pictures import scene

PASSWORDS = {"ann": "pear-tree", "bob": "plum-tree"}


@contextmanager
def logged_in(studio: Process, name: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{studio.url}gradio_api/", timeout=60) as client:
        form = {"username": name, "password": PASSWORDS[name]}
        assert client.post(f"{studio.url}login", data=form).status_code == 200
        yield client


def status(client: httpx.Client, method: str, path: str, sent: Any) -> int:
    """What a request comes to, without waiting for the end of a stream."""
    with client.stream(method, path, json=sent) as answer:
        return answer.status_code


def attempts(page: str, event: str) -> list[tuple[str, str, Any]]:
    """Every way to name a page and one of its events."""
    own, call = uuid.uuid4().hex, {"data": [], "fn_index": 0}
    read = [
        *(f"queue/data?session_hash={page}", f"queue/data?session_hash={own}&session_hash={page}"),
        *(f"queue/data?session_hash={page}&session_hash={own}", f"heartbeat/{page}"),
        *(f"call/{form}bases/{word}" for form in ("", "v2/") for word in (page, event)),
        f"upload_progress?upload_id={page}",
    ]
    sent: list[tuple[str, dict[str, Any]]] = [
        *((path, {**call, "session_hash": page}) for path in ("queue/join", "run/predict", "api/predict")),
        ("run/bases", {"data": [], "session_hash": page}),
        ("call/bases", {"data": [], "session_hash": page}),
        ("cancel", {"session_hash": page, "event_id": "x", "fn_index": 0}),
        ("cancel", {"session_hash": own, "event_id": event, "fn_index": 0}),
        ("reset", {"event_id": event}),
    ]
    return [("GET", path, None) for path in read] + [("POST", path, body) for path, body in sent]


def test_nobody_listens_or_acts_with_anothers_words(shared_studio: Process) -> None:
    with logged_in(shared_studio, "ann") as ann, logged_in(shared_studio, "bob") as bob:
        page = uuid.uuid4().hex
        joined = ann.post("call/bases", json={"data": [], "session_hash": page})
        alone = ann.post("call/bases", json={"data": []}).json()["event_id"]
        event = joined.json()["event_id"]
        for method, path, sent in attempts(page, event) + attempts(page, alone):
            assert status(bob, method, path, sent) == 403, path
        heard = ann.get("queue/data", params={"session_hash": page}).text
        assert '"process_completed"' in heard and "starter" in heard, "nobody has taken her answers"
        assert "event: complete" in ann.get(f"call/bases/{alone}").text
        with logged_in(shared_studio, "ann") as again:
            assert again.post("call/bases", json={"data": [], "session_hash": page}).status_code == 200
            assert '"process_completed"' in again.get("queue/data", params={"session_hash": page}).text


def test_ones_own_words_are_refused_to_nobody(shared_studio: Process) -> None:
    """Each of the attempts comes to something where the page is one's own, so that 403 says whose it is."""
    with logged_in(shared_studio, "bob") as bob:
        page = uuid.uuid4().hex
        event = bob.post("call/bases", json={"data": [], "session_hash": page}).json()["event_id"]
        for method, path, sent in attempts(page, event):
            assert status(bob, method, path, sent) in (200, 400, 404), path


def log_in(page: Any, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector(READY)


def log_out(page: Any, studio: Process) -> None:
    page.goto(f"{studio.url}logout")
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Password").wait_for()


@pytest.mark.thorough
def test_a_person_reloads_opens_tabs_and_comes_back(shared_studio: Process, browser: Any, tmp_path: Path) -> None:
    api, words = f"{shared_studio.url}gradio_api/", set[str]()
    """By which Gradio knows the pages that were open."""
    wrong: list[str] = []

    def note(answer: Any) -> None:
        if answer.request.url.startswith((f"{api}queue/join", f"{api}run/")):
            words.add(answer.request.post_data_json["session_hash"])
        if answer.status == 403:
            wrong.append(answer.url)

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    context.on("response", note)
    first, second = context.new_page(), context.new_page()
    for page in (first, second):
        page.on("pageerror", lambda error: wrong.append(str(error)))
    first.goto(shared_studio.url)
    log_in(first, "ann")
    first.reload()
    first.wait_for_selector(READY)
    second.goto(f"{shared_studio.url}playground")
    second.get_by_label("Prompt", exact=True).wait_for()
    log_out(second, shared_studio)
    log_in(second, "ann")
    scene(1, (64, 64)).save(tmp_path / "a.png")
    add(first, tmp_path / "a.png", count=1)
    assert wrong == [] and len(words) >= 3
    with logged_in(shared_studio, "bob") as bob:
        for word in words:
            assert status(bob, "GET", f"queue/data?session_hash={word}", None) == 403
    context.close()
