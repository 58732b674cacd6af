"""What all pages follow: the state of the computer, looked at once for all, sent when it changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from gettext import NullTranslations
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError, expect
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import language
from app.changes import Changes
from app.jobs import actions
from app.jobs.job import NewJob
from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.processes.process import own_identity
from app.jobs.store import TRAIN
from app.jobs.trash.trash import Trash
from app.studio.studio_queue import StudioQueue
from app.ui import now
from app.ui.components import text
from app.ui.document.language import LanguageMiddleware
from app.ui.now import NowRoutes
from tests.app.jobs.working import add_quick
from tests.app.ui.ended_runs import write_run
from tests.app.ui.server import Process
from tests.app.ui.visitor import visiting


class Marked(NullTranslations):
    """A language in which everything is marked."""

    def gettext(self, message: str) -> str:
        return message if message == "{}" else f"«{message}»"

    def ngettext(self, one: str, other: str, count: int) -> str:
        return self.gettext(one if count == 1 else other)


def read_states(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The states of a stream, one by one."""
    return (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_the_version_grows_with_each_change_and_with_the_server(queue: StudioQueue, tmp_path: Path) -> None:
    routes = NowRoutes(queue, Changes())
    first = routes.look()
    assert (first.line, first.busy) == (text.FREE, False)
    add_quick(queue.store, tmp_path / "job")
    assert routes.look() == first, "a second has not passed"
    second, third = routes.look(newer=True), routes.look(newer=True)
    assert second.line == "1 waiting" and third == second
    versions = [first.version, second.version, NowRoutes(queue, Changes()).look().version]
    assert sorted(set(versions)) == versions


def test_the_line_leads_to_the_only_run(queue: StudioQueue, tmp_path: Path) -> None:
    store, routes = queue.store, NowRoutes(queue, Changes())
    store.add(NewJob(TRAIN, store.runs / "dusk & dawn"))
    assert routes.look(newer=True).page == "runs"
    claimed = store.claim(lambda *_: "cpu", own_identity())
    assert claimed is not None and store.begin(claimed.id, claimed.token, own_identity()) is not None
    assert routes.look(newer=True).page == "run?id=dusk%20%26%20dawn"
    store.add(NewJob(TRAIN, store.runs / "next"))
    assert routes.look(newer=True).page == "runs"


def test_the_version_grows_with_what_changes_beside_the_queue(queue: StudioQueue) -> None:
    changes, stamps = Changes(), ["a", "b", "b", "a"]
    changes.follow(lambda: "always")
    changes.follow(lambda: stamps.pop(0))
    routes = NowRoutes(queue, changes)
    versions = [routes.look(newer=True).version for _ in range(4)]
    assert versions[0] < versions[1] == versions[2] < versions[3]


def test_each_page_hears_of_it_in_its_language(
    queue: StudioQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "catalogue", lambda _: Marked())
    routes = NowRoutes(queue, Changes())
    add_quick(queue.store, tmp_path / "job")
    page = TestClient(LanguageMiddleware(Starlette(routes=routes.routes())))
    lines = [page.get("/now", headers={"accept-language": name}).json()["line"] for name in ("de", "en")]
    assert lines == ["«1 waiting»", "1 waiting"]


def test_a_stream_says_what_changes_and_ends_with_the_server(
    queue: StudioQueue, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(now, "INTERVAL", 0.01)
    routes = NowRoutes(queue, Changes())
    asked: list[None] = []
    look = routes.look

    def looked() -> now.Now:
        asked.append(None)
        if len(asked) == 5:
            add_quick(queue.store, tmp_path / "job")
        routes.closed = len(asked) == 50
        return look(newer=True)

    monkeypatch.setattr(routes, "look", looked)
    answer = TestClient(Starlette(routes=routes.routes())).get("/now/stream")
    assert answer.headers["content-type"].startswith("text/event-stream") and answer.text.startswith("retry: 1000")
    assert [state["line"] for state in read_states(iter(answer.text.splitlines()))] == [text.FREE, "1 waiting"]


def test_a_quiet_stream_shows_that_it_lives_and_ends_in_time(queue: StudioQueue, monkeypatch: Any) -> None:
    for name, seconds in (("INTERVAL", 0.01), ("PING", 0.1), ("LONGEST", 1.0)):
        monkeypatch.setattr(now, name, seconds)
    answer = TestClient(Starlette(routes=NowRoutes(queue, Changes()).routes())).get("/now/stream")
    states = list(read_states(iter(answer.text.splitlines())))
    assert 2 < len(states) < 12 and all(state == states[0] for state in states)


COUNT_SECONDS = """
window.secondsCounted = 0;
const drawNext = requestAnimationFrame;
window.requestAnimationFrame = draw => ((secondsCounted += /performance\\.now/.test(draw)), drawNext(draw));
"""
"""How often Gradio has asked for a frame to count the seconds of something that loads."""


@pytest.mark.browser
def test_visible_tabs_share_one_stream_and_an_idle_page_asks_for_nothing(studio: Process, browser: Any) -> None:
    with browser.new_context() as context:
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url.removeprefix(studio.url)))
        context.add_init_script(COUNT_SECONDS)
        pages = [context.new_page() for _ in range(2)]
        for page, address in zip(pages, ("runs", "trash"), strict=True):
            page.goto(studio.url + address)
            page.wait_for_function("document.querySelector('.busy')?.title")
        streams = asked.count("now/stream")
        asked.clear()
        with pytest.raises(TimeoutError):
            context.wait_for_event("request", timeout=5_000)
        assert streams == 1 and asked == []
        assert [page.evaluate("secondsCounted") for page in pages] == [0, 0], "in every frame, for good"


def test_what_has_ended_is_told_to_whoever_owns_it(queue: StudioQueue, monkeypatch: Any) -> None:
    job = queue.store.add(NewJob("train", actions.new_folder(queue.store, "harbour"), owner="ann"))
    routes = NowRoutes(queue, Changes())
    assert routes.look(newer=True).ended == ()
    actions.stop(queue.store, job.id, "cancel", actor=Actor("ann"))
    ended = routes.look(newer=True)
    assert [(each.number, each.run, each.line) for each in ended.ended] == [(1, "harbour", "“harbour” was cancelled.")]
    assert ended.body("ann")["ended"] and ended.body("bob")["ended"] == ended.body(None)["ended"] == []
    assert routes.look(newer=True).ended == ended.ended


def test_what_was_deleted_can_be_undone_for_ten_minutes_by_its_owner(queue: StudioQueue, monkeypatch: Any) -> None:
    write_run(queue.store.runs, "harbour")
    routes = NowRoutes(queue, Changes())
    assert routes.look(newer=True).body(None)["undo"] is None
    thrown = queue.delete(queue.number("harbour", actor=MACHINE_OWNER), actor=MACHINE_OWNER)
    assert thrown is not None
    state = routes.look(newer=True)
    wanted = {"id": thrown.id, "owner": "", "line": "“harbour” was deleted."}
    assert state.body(None)["undo"] == wanted and state.body("ann")["undo"] is None
    monkeypatch.setattr(now, "UNDO_FOR", 0.0)
    assert routes.look(newer=True).undoable == ()


NOTE_NOTIFICATIONS = """
window.notified = [];
window.Notification = class { constructor(said) { notified.push(said); } };
Notification.permission = 'default';
Notification.requestPermission = async () => (Notification.permission = window.allowed);
"""


@pytest.mark.browser
def test_somebody_who_asks_for_it_is_told_when_a_run_ends(browser: Any, studio: Process) -> None:
    with visiting(browser, studio.url) as page:
        page.add_init_script(NOTE_NOTIFICATIONS)
        is_told(page, studio.url)


def is_told(page: Any, url: str) -> None:
    ended: list[dict[str, Any]] = []
    state = {
        "version": 1,
        "line": "Harbour: 62%",
        "busy": True,
        "page": "runs",
        "brief": "62% · 9 min",
        "user": None,
        "ended": ended,
    }
    page.route("**/now", lambda route: route.fulfill(json=state))
    page.route("**/now/stream", lambda route: route.abort("aborted"))
    page.goto(url)
    page.wait_for_function("document.title === '62% · 9 min · Train · Velatura'")
    bell = page.get_by_role("button", name="Notify me when a training ends")
    page.evaluate("window.allowed = 'denied'")
    bell.click()
    refused = page.get_by_role("button", name="This browser does not allow notifications")
    expect(refused).to_have_attribute("aria-pressed", "false")
    page.evaluate("window.allowed = 'granted'")
    refused.click()
    expect(page.get_by_role("button", name="Stop notifying me")).to_have_attribute("aria-pressed", "true")
    tell = "one => new BroadcastChannel('velatura-now').postMessage(one)"
    page.evaluate(tell, state | {"ended": [{"number": 1, "run": "harbour", "line": "“Harbour” is finished."}]})
    page.wait_for_function("notified.join() === '“Harbour” is finished.'")
    page.evaluate(
        tell, state | {"ended": [{"number": 1, "run": "harbour", "line": "“Harbour” is finished."}], "brief": ""}
    )
    page.wait_for_function("document.title === 'Train · Velatura'")
    assert page.evaluate("notified.length") == 1


def test_the_trash_is_read_again_only_where_it_has_changed(queue: StudioQueue, monkeypatch: Any) -> None:
    monkeypatch.setattr(now, "SETTLED", 0.0)
    for name in ("dusk", "dawn"):
        write_run(queue.store.runs, name, {"train": {"steps": 2, "warmup": 0}})
    trash, reads = Trash(queue.store), list[float]()
    recent = now.RecentTrash(trash)
    read = trash.recent
    monkeypatch.setattr(trash, "recent", lambda seconds: reads.append(seconds) or read(seconds))
    assert recent.items(60) == [] and reads == [], "there is no trash yet"
    for name in ("dusk", "dawn"):
        queue.delete(queue.number(name, actor=MACHINE_OWNER), actor=MACHINE_OWNER)
        assert [item.name for item in recent.items(60) + recent.items(60)][:1] == [name]
    assert len(reads) == 2 and recent.items(0) == []
    actions.restore(queue.store, recent.items(60)[0].id, actor=MACHINE_OWNER)
    assert [item.name for item in recent.items(60)] == ["dusk"] and len(reads) == 3
