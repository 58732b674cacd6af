"""One damaged run beside a good one: every list, bar and page shows both, and the good one as it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markupsafe import escape

from app.cli.queue import _facts
from app.jobs.database.migrations import DamagedQueueError
from app.jobs.dispatcher import settle
from app.jobs.events.summary import Summary, read_summary
from app.jobs.job import _READ
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.process import own_identity
from app.jobs.repair import repair
from app.jobs.store import NewJob
from app.studio.generation import form
from app.studio.paths import Paths
from app.studio.runs import estimate_jobs
from app.studio.services import Services, open_services
from app.studio.studio_queue import Activity
from app.ui.components import text as shared
from app.ui.components.runs import run_view
from app.ui.components.runs.text import activity
from app.ui.runs import text as run_words
from app.ui.runs.actions import REPAIR
from app.ui.runs.compare import ComparisonPage
from app.ui.runs.compare_view import MOST
from app.ui.runs.events import RunAction
from app.ui.runs.list import RunsPage
from app.ui.runs.run import RunPage
from tests.app.jobs.test_repair import damage
from tests.app.ui.ended_runs import write_run
from tests.damaged_events import LINES
from trainers.runs.event_lines import parse_event

pytestmark = [pytest.mark.long, pytest.mark.slow]

COLUMNS = sorted(_READ.keys() - {"id"})
PARTS = ("events.jsonl", "config.toml", "samples", "snapshots", "chosen.json", "style", "log.txt", ".heartbeat")
WAYS = ("folder", "nothing", "noise", "brackets")
"""What stands where a part of a run should be."""
VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=8).filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text)),
    st.binary(max_size=8),
    st.sampled_from(["", ".", "..", "/", "a/../..", "\0", "[]", "[1]", "{}", "null", "9" * 400, "x/" * 3000]),
)
SOMEBODY = SimpleNamespace(username="", cookies={}, session_hash="")


def words_of(shown: Mapping[Any, Any]) -> str:
    """What the parts of a page show."""
    return "".join(map(str, shown.values()))


class Pages:
    """The data functions of the pages, called as their timers call them."""

    def __init__(self, services: Services) -> None:
        self.services = services
        with gr.Blocks():
            self.list = RunsPage(services.queue)
            self.run = RunPage(services)
            self.comparison = ComparisonPage(services)

    def look(self) -> list[str]:
        """Names in the list of runs, in its order, after every page was asked for its data."""
        queue = self.services.queue
        views = queue.runs()
        listed = self.list.refresh("{}", "", SOMEBODY)[self.list.list]
        assert isinstance(activity(queue.activity()), str)
        for view in [*views, *queue.small_jobs()]:
            assert escape(view.job.name) in listed or view.job.kind != "train"
            page = self.run.refresh(view.job.name, "", "{}", SOMEBODY)
            assert escape(view.job.name) in words_of(page) or view.job.kind != "train"
            assert str(_facts(view)) and run_view.kind(view, MACHINE_OWNER) is not None
            assert estimate_jobs._estimate(view) is not None and form.first_prompt(None, queue) is None
            queue.losses(view.job.folder).numbers().as_csv()
        names = [view.job.name for view in views]
        for few in (names[:MOST], names[MOST:]):
            assert all(escape(name) in words_of(self.comparison.refresh(",".join(few), "")) for name in few)
        self.services.library.entries()
        return names


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    paths = Paths(tmp_path_factory.mktemp("studio") / "outputs")
    paths.make()
    services = open_services(paths, paths.uploads)
    write_run(paths.runs, "good", {"train": {"steps": 4}})
    write_run(paths.runs, "damaged", {"train": {"steps": 4}})
    queue = services.queue.store
    queue.add(NewJob("train", paths.runs / "damaged"))
    queue.add(NewJob("generate", paths.runs / ".jobs" / "small", ("generate",)))
    (paths.runs / ".jobs" / "small").mkdir(parents=True)
    yield Pages(services)
    services.close()


@pytest.fixture
def others(pages: Pages) -> Iterator[dict[str, Path]]:
    """A run for each of the `WAYS` to break one, as long as a test looks at them."""
    folders, jobs, store = {}, [], pages.services.queue.store
    for way in WAYS:
        folders[way] = write_run(pages.services.paths.runs, way, {"train": {"steps": 4}})
        jobs.append(store.add(NewJob("train", folders[way]), phase="ended"))
    yield folders
    for job, folder in zip(jobs, folders.values(), strict=True):
        store.forget(job)
        shutil.rmtree(folder)


def spoilt(pages: Pages, lines: list[bytes]) -> Path:
    runs = pages.services.paths.runs
    for folder in (runs / "damaged", runs / ".jobs" / "small"):
        with (folder / "events.jsonl").open("ab") as file:
            file.write(b"\n".join(lines) + b"\n")
    return runs / "damaged"


@pytest.mark.slow
@settings(max_examples=10)
@given(st.lists(LINES, min_size=1, max_size=5), st.sampled_from(["waiting", "running", "ended"]))
def test_any_events_of_one_run_leave_every_page_standing(pages, lines, phase):
    queue = pages.services.queue.store
    with queue._database.writing() as db:
        db.execute("UPDATE jobs SET phase = ?, attempts = 1", (phase,))
    before = pages.services.queue.run("good")
    damaged = spoilt(pages, lines)
    assert sorted(pages.look()) == ["damaged", "good"]
    assert pages.services.queue.run("good") == before and before is not None and before.state == "finished"
    (damaged / "events.jsonl").unlink()


@pytest.mark.slow
@settings(max_examples=12)
@given(st.sampled_from(COLUMNS), VALUES, st.sampled_from(["waiting", "running", "held", "ended"]), st.booleans())
@example("folder", "a" * 300, "waiting", False)
@example("pid", 2**62, "running", False)
@example("owner", b"\xff\xfe", "ended", True)
@example("command", "[" * 100_000, "waiting", False)
@example("position", "last", "waiting", False)
@example("priority", 2**63 - 1, "waiting", False)
@example("begun", float("inf"), "running", False)
def test_any_value_in_a_row_leaves_every_page_standing_and_is_repaired(pages, column, value, phase, as_text):
    store, runs = pages.services.queue.store, pages.services.paths.runs
    (runs / "damaged" / "events.jsonl").touch()  # which another test removes
    (job,) = (job for job in store.jobs() if job.name == "damaged")
    row = store.row(job.id)
    with store._database.writing() as db:
        db.execute("UPDATE jobs SET phase = 'waiting', wants = 'cuda:9', attempts = 0")
        db.execute("UPDATE jobs SET phase = ?, host = ?, pid = 1 WHERE id = ?", (phase, own_identity().host, row["id"]))
        db.execute(
            f"UPDATE jobs SET {column} = {'CAST(? AS TEXT)' if as_text else '?'} WHERE id = ?", (value, row["id"])
        )
    assert "good" in pages.look()
    with suppress(DamagedQueueError):
        store.check()
        settle(store)  # the value is possible
        with store._database.writing() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (row["id"],))
        store.change_row({"put": row})
        return
    with pytest.raises(DamagedQueueError, match=r"a row has an invalid .*`velatura queue repair` keeps this file"):
        store.jobs()
    repaired = {job.name: job for job in repair(store).jobs}
    store.check()
    assert {"good", "damaged"} <= repaired.keys() and {"good", "damaged"} <= set(pages.look())
    store.forget(repaired["good"])  # it had no row


@pytest.mark.slow
@settings(max_examples=20)
@given(st.lists(LINES, min_size=1, max_size=6))
def test_a_line_that_is_no_event_changes_nothing(tmp_path_factory, lines):
    folder, clean = tmp_path_factory.mktemp("with"), tmp_path_factory.mktemp("without")
    whole = b"\n".join(lines).split(b"\n")
    (folder / "events.jsonl").write_bytes(b"\n".join(whole) + b"\n")
    (clean / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in whole if parse_event(line)))
    assert read_summary(folder) == read_summary(clean)
    events = [event for line in whole if (event := parse_event(line))]
    assert read_summary(folder) == Summary().after(events)


@pytest.mark.parametrize("name", PARTS)
def test_any_broken_part_of_a_run_leaves_every_page_standing(name, pages, others, tmp_path):
    for way, folder in others.items():
        part = folder / name
        if part.exists():
            part.rename(tmp_path / way)
        if way == "folder":
            (part / "step-00000001").mkdir(parents=True)
            (part / "step-00000001" / "00.png").write_bytes(b"no picture")
        elif way != "nothing":
            part.write_bytes(os.urandom(3000) if way == "noise" else b"name = " + b"[" * 100_000)
    assert {"good", *WAYS} <= set(pages.look())


def test_a_damaged_queue_leaves_every_page_standing_and_is_repaired_with_a_button(tmp_path):
    paths = Paths(tmp_path / "outputs")
    paths.make()
    services = open_services(paths, paths.uploads)
    write_run(paths.runs, "good", {"train": {"steps": 4}})
    waiting = write_run(paths.runs, "waiting", {"train": {"steps": 4}})
    (waiting / "events.jsonl").write_text("")
    store, pages = services.queue.store, Pages(services)
    store.add(NewJob("train", waiting))
    damage(store)
    assert sorted(pages.look()) == ["good", "waiting"]
    listed = pages.list.refresh("{}", "", SOMEBODY)[pages.list.list]
    assert run_words.QUEUE_DAMAGED in listed and f"{run_words.REPAIR}</button>" in listed
    assert activity(services.queue.activity()) == shared.QUEUE_PROBLEM
    shown = pages.list.on_asked(RunAction(what=REPAIR), SOMEBODY, "{}")
    assert "queue.damaged-1.db" in shown[pages.list.notice] and run_words.REPAIR not in shown[pages.list.list]
    assert [job.name for job in store.line()] == ["waiting"] and services.queue.activity() == Activity(waiting=1)
    services.close()
    damage(store)
    services = open_services(paths, paths.uploads)
    assert sorted(Pages(services).look()) == ["good", "waiting"], "a studio begins with a damaged queue, too"
    services.close()


def test_a_run_that_cannot_be_read_says_so(tmp_path):
    paths = Paths(tmp_path / "outputs")
    paths.make()
    services = open_services(paths, paths.uploads)
    run = write_run(paths.runs, "damaged", {"train": {"steps": 4}})
    services.queue.store.add(NewJob("train", run), phase="ended")
    (run / "events.jsonl").unlink()
    (run / "events.jsonl").mkdir()
    shown: Any = services.queue.run("damaged")
    assert shown is not None and shown.line.startswith("Its events cannot be read: ")
    services.close()


def test_a_name_that_is_no_text_is_not_shown(tmp_path):
    paths = Paths(tmp_path / "outputs")
    paths.make()
    services = open_services(paths, paths.uploads)
    write_run(paths.runs, "good", {"train": {"steps": 4}})
    (paths.runs / "good").rename(os.fsdecode(os.fsencode(paths.runs) + b"/b\xffd"))
    write_run(paths.runs, "good", {"train": {"steps": 4}})
    assert Pages(services).look() == ["good"]
    services.close()
