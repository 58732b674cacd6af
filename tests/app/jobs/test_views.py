"""The queue as it is shown: what has changed is seen at once, what has not is not looked up again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from app.jobs.events import follow
from app.jobs.processes.process import Identity, identity_of
from app.jobs.store import Job, NewJob, Store
from app.jobs.view import View
from app.jobs.views import Watcher
from tests.app.jobs.working import CPU
from trainers.runs.events import Recorder
from trainers.runs.run import HEARTBEAT

PATIENCE = 60.0


def add(store: Store, name: str) -> Job:
    (store.runs / name).mkdir(parents=True)
    return store.add(NewJob("train", store.runs / name))


def begin(store: Store, process: Identity) -> Job:
    """The first job in line, as the job of a process."""
    claimed = store.claim(CPU.choose, process)
    assert claimed is not None
    running = store.begin(claimed.id, claimed.token, process)
    assert running is not None
    return running


def bare(store: Store, name: str) -> Path:
    """A run that no queue knows."""
    folder = store.runs / name
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("")
    Recorder(folder)("start", steps=9)
    return folder


def by_name(views: tuple[View, ...]) -> dict[str, View]:
    return {view.job.name: view for view in views}


def test_a_run_that_fell_back_says_so_until_it_begins_anew(tmp_path):
    store = Store(tmp_path)
    folder = tmp_path / "dusk"
    folder.mkdir()
    job = store.add(NewJob("train", folder), phase="ended")
    record, watcher = Recorder(folder), Watcher(store)
    record("checkpoint", step=20)
    record("damaged", step=20, saved=10, message="words")
    summary = watcher.view(job.id).summary
    assert (summary.saved, summary.step) == (10, 10)
    record("step", step=11, steps=30)
    record("done", step=30)
    line = "Done. The checkpoint at step 20 was damaged, so it continued from step 10."
    assert watcher.view(job.id).line == line
    record("anew")
    assert "damaged" not in watcher.view(job.id).line


def test_a_run_that_went_back_and_skipped_steps_says_so(tmp_path):
    store = Store(tmp_path)
    folder = tmp_path / "dusk"
    folder.mkdir()
    job = store.add(NewJob("train", folder), phase="ended")
    record, watcher = Recorder(folder), Watcher(store)
    record("step", step=28, steps=30)
    record("rollback", step=28, saved=20, lr=0.1, message="words")
    summary = watcher.view(job.id).summary
    assert (summary.saved, summary.step) == (20, 20)
    record("done", step=30, skipped=1)
    back = "Up to step 28 too many losses were not finite, so it continued from step 20 with half the learning rate."
    view = watcher.view(job.id)
    assert view.line == f"Done. {back} 1 step changed nothing, because its loss was not finite."
    assert view.trouble == view.line.removeprefix("Done. ")


def test_runs_in_line_are_counted_without_the_small_jobs_before_them(store):
    first, second = add(store, "dusk"), add(store, "dawn")
    store.add(NewJob("generate", store.runs / ".jobs" / "one", ("true",), priority=1))
    views = {view.job.id: view for view in Watcher(store).views()}
    assert [views[job.id].line for job in (first, second)] == ["1st in line.", "2nd in line."]
    assert [views[job.id].place for job in (first, second)] == [2, 3], "where they can be moved to"


def test_a_run_that_stops_does_not_count_the_steps_that_it_will_not_do(store):
    add(store, "dusk")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        running = begin(store, identity_of(child.pid))
        record, watcher = Recorder(running.folder), Watcher(store)
        record("attempt", number=running.attempts)
        record("step", step=3, steps=900, speed=0.01, seconds_left=89_700.0)
        assert watcher.view(running.id).summary.seconds_left == 89_700
        store.request(running, "save")
        view = watcher.view(running.id)
        assert (view.state, view.line) == ("stopping", "Finishing this step …")
        assert view.summary.seconds_left is None and view.summary.speed == 0
        record("phase", phase="after")
        record("drawing", step=3, picture=1, pictures=4, seconds_left=40.0)
        assert watcher.view(running.id).summary.seconds_left == 40, "of the last pictures"


def test_each_look_sees_what_has_changed_and_keeps_what_has_not(store):
    """The same watcher looks before and after every change, as a server's does."""
    jobs = {name: add(store, name) for name in ("dusk", "dawn", "noon")}
    watcher, other = Watcher(store), Store(store.runs)  # as in another process
    before = by_name(watcher.history())

    def changed() -> dict[str, View]:
        """The views that are others than before."""
        nonlocal before
        now = by_name(watcher.history())
        found = {name: view for name, view in now.items() if before.get(name) != view}
        assert found.keys() | before.keys() - now.keys(), "something has changed"
        before = now
        return found

    other.move(jobs["noon"], 2)
    assert {name: view.place for name, view in changed().items()} == {"noon": 2, "dawn": 3}
    store.want(jobs["dawn"], "cuda")
    assert {name: view.job.wants for name, view in changed().items()} == {"dawn": "cuda"}

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        running = begin(other, identity_of(child.pid))
        assert {name: (view.state, view.place) for name, view in changed().items()} == {
            "dusk": ("preparing", 0),
            "noon": ("queued", 1),
            "dawn": ("queued", 2),
        }
        record = Recorder(running.folder)
        record("attempt", number=running.attempts)
        record("step", step=3, steps=9, speed=0.01)
        found = changed()
        assert found["dusk"].line == "Step 3 of 9, 10 min left." and found.keys() == {"dusk", "noon"}
        assert found["noon"].line == "1st in line, starts in about 10 min."
        record("step", step=4, steps=9, speed=0.01)
        assert changed()["dusk"].summary.step == 4
        child.kill()
        child.wait()
        found = changed()
    assert found["dusk"].state == "interrupted" and found["noon"].line == "1st in line."

    (running.folder / "events.jsonl").write_bytes(b'{"type": "done", "time": 1.0}\n')
    assert changed()["dusk"].summary.steps == 0, "another, shorter file"
    shutil.rmtree(jobs["dawn"].folder)
    assert changed()["dawn"].line == "Its folder is missing."
    folder = bare(store, "found")
    assert [(view.job.id, view.state) for view in changed().values()] == [(0, "interrupted")]
    Recorder(folder)("done", step=9)
    assert changed()["found"].state == "finished"
    shutil.rmtree(folder)
    assert not changed() and "found" not in before
    other.forget(jobs["dawn"])
    assert not changed() and "dawn" not in before
    Recorder(jobs["noon"].folder)("paused", step=4)
    assert before["dusk"] is by_name(watcher.history())["dusk"] and changed().keys() == {"noon"}
    assert watcher.history() is watcher.history() and watcher.views() is watcher.views()


def test_a_sign_of_life_that_stays_away_is_missed(store):
    add(store, "far")
    running = begin(store, Identity("another machine", 7, 1.0))
    beat, watcher = running.folder / HEARTBEAT, Watcher(store)
    beat.touch()
    assert [view.state for view in watcher.views()] == ["preparing"]
    os.utime(beat, (time.time() - 600,) * 2)
    assert [view.state for view in watcher.views()] == ["interrupted"]
    beat.touch()
    assert [view.state for view in watcher.views()] == ["preparing"]


def test_what_has_not_changed_is_read_once(store, monkeypatch):
    for name in ("dusk", "dawn"):
        add(store, name)
    bare(store, "found")
    watcher, read = Watcher(store), []
    select, opened = store.jobs, follow.open_events
    monkeypatch.setattr(follow, "OPEN_EVERY", PATIENCE)
    monkeypatch.setattr(store, "jobs", lambda: read.append("rows") or select())
    monkeypatch.setattr(follow, "open_events", lambda folder: read.append(folder.name) or opened(folder))
    first = watcher.history()
    assert sorted(read) == ["dawn", "dusk", "found", "rows"]
    assert watcher.history() is first and len(watcher.views()) == 2 and watcher.view_of("found") is not None
    Recorder(store.runs / "dawn")("loading")
    assert watcher.history() is not first
    assert sorted(read) == ["dawn", "dawn", "dusk", "found", "rows"]
    monkeypatch.setattr(follow, "OPEN_EVERY", 0.0)
    watcher.history()
    assert len(read) == 8, "a network disk may not tell by itself"


class Counted:
    """A lock that knows how many have wanted it."""

    def __init__(self) -> None:
        self.wanted, self._lock, self._more = 0, threading.Lock(), threading.Condition()

    def __enter__(self) -> None:
        with self._more:
            self.wanted += 1
            self._more.notify_all()
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType) -> None:
        self._lock.release()

    def wait_for(self, number: int) -> None:
        with self._more:
            assert self._more.wait_for(lambda: self.wanted >= number, PATIENCE)


def test_twenty_who_ask_while_somebody_looks_get_one_look_together(store, monkeypatch):
    add(store, "dusk")
    watcher, lock, looks, go = Watcher(store), Counted(), [], threading.Event()
    watcher._lock = lock
    revision = store.revision

    def slow() -> tuple[int, ...]:
        looks.append(1)
        assert go.wait(PATIENCE)
        return revision()

    monkeypatch.setattr(store, "revision", slow)
    with ThreadPoolExecutor(21) as threads:
        first = threads.submit(watcher.history)
        lock.wait_for(1)
        others = [threads.submit(watcher.history) for _ in range(20)]
        lock.wait_for(21)
        store.want(store.line()[0], "cuda")  # which the first look may have missed
        go.set()
        found = {id(views): views for views in (each.result(PATIENCE) for each in others)}
    assert len(looks) == 2 and first.result() is not None
    (views,) = found.values()
    assert views[0].job.wants == "cuda"


def test_warnings_of_an_attempt_are_shown_until_they_end(tmp_path):
    store = Store(tmp_path)
    folder = tmp_path / "dusk"
    folder.mkdir()
    job = store.add(NewJob("train", folder), phase="ended")
    record, watcher = Recorder(folder), Watcher(store)
    for name, message in (("gradients", "A layer is idle."), ("pace", "Slow."), ("pace", "Slower.")):
        record("problem", name=name, message=message)
    record("step", step=30, steps=30)
    record("done", step=30)
    assert watcher.view(job.id).line == "Done. A layer is idle. Slower."
    record("solved", name="pace", message="usual")
    assert watcher.view(job.id).trouble == "A layer is idle."
    record("attempt", number=2)
    assert watcher.view(job.id).trouble == ""
