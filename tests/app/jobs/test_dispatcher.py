"""The queue at work, with processes that are killed: nothing runs twice, nothing is lost, nothing blocks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from filelock import FileLock

from app.jobs import actions
from app.jobs.dispatcher import Dispatcher, settle
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.devices import DeviceOffer
from app.jobs.processes.fork_server import ForkServer
from app.jobs.processes.process import Child, identity_of, own_identity
from app.jobs.store import Job, NewJob, Store
from app.jobs.view import View
from app.jobs.views import Watcher
from app.studio.job_modules import JOB_MODULES
from tests.app.jobs.uncut import STEPS, has_bits_of, long_run
from tests.app.jobs.working import add_quick, wait_until_ended
from tests.trainers.tiny_runs import events_of, style_metadata, style_tensors
from tests.waiting import wait_until
from trainers.errors import VelaturaError
from trainers.runs.events import Recorder, read_events
from trainers.runs.run import Run

pytestmark = [pytest.mark.long, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
CPU = DeviceOffer(("cpu",), complete=True)


@contextmanager
def served(
    fork_server: ForkServer, store: Store, log: Path, devices: str = "cpu", until: str = "killed"
) -> Iterator[Child]:
    """A dispatcher in a process of its own, which is killed at the end if it is still there."""
    process = fork_server.start("tests.app.jobs.serving", [str(store.runs), devices, until], log, {})
    wait_until(lambda: process.pid, "it does not start")
    try:
        yield process
    finally:
        if process.exit_code() is None:
            os.kill(process.pid, signal.SIGKILL)
        end_of(process)


def end_of(process: Child) -> int:
    """The exit code of a process, as soon as it has ended."""
    wait_until(lambda: process.exit_code() is not None, "it does not end")
    code = process.exit_code()
    process.collect()
    return int(code or 0)


def view_when(store: Store, number: int, is_so: Callable[[View], bool], looking: Dispatcher | None = None) -> View:
    """A job as soon as it is so; fails at once where it has failed."""
    watcher = Watcher(store)

    def found() -> View | None:
        if looking is not None:
            looking.look()
        view = watcher.view(number)
        assert is_so(view) or view.state != "failed", said(view)
        return view if is_so(view) else None

    def said(view: View) -> tuple[View, str]:
        log = view.job.folder / "process.log"
        return view, log.read_text()[-2000:] if log.exists() else ""

    view = wait_until(found, lambda: said(watcher.view(number)))
    assert view is not None
    return view


def has_ended(state: str) -> Callable[[View], bool]:
    """Whether a job is in this state and its row is settled, which comes after its last word."""
    return lambda view: view.state == state and view.job.phase == "ended"


@pytest.fixture
def dispatcher(store: Store, fork_server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dispatcher]:
    """One in this process; whatever runs at the end is killed."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))  # the same bits need the same threads
    yield Dispatcher(store, JOB_MODULES, CPU, interval=0.02, fork_server=fork_server)
    for job in store.active() if store.exists() else ():
        if job.process != own_identity():
            job.process.kill()


def test_a_run_outlives_its_dispatcher_makes_way_restarts_when_killed_and_ends_with_the_bits_of_an_uncut_one(
    store, quick, dispatcher, uncut, fork_server, tmp_path
):
    job = actions.add(store, long_run(quick), actor=MACHINE_OWNER)
    with served(fork_server, store, tmp_path / "log") as first:
        begun = view_when(store, job.id, lambda view: view.summary.step >= 3)
        os.kill(first.pid, signal.SIGKILL)
        assert end_of(first) == -signal.SIGKILL
    assert begun.job.process.is_alive() and not any(worker.is_alive() for worker in store.workers())
    step = view_when(store, job.id, lambda view: view.summary.step >= begun.summary.step + 3, dispatcher).summary.step
    assert store.job(job.id).process == begun.job.process and store.job(job.id).attempts == 1  # adopted, not doubled
    assert store.workers() == {}  # the killed one is swept away

    behind = actions.add(store, quick("behind"), priority=5, actor=MACHINE_OWNER)
    drawing = add_quick(store, actions.new_folder(store, "drawing"))
    saved = makes_way(store, job, drawing)  # without any dispatcher
    assert saved >= step and [each.name for each in store.line()] == ["drawing", "dusk", "behind"]
    again = view_when(store, job.id, lambda view: view.summary.step >= saved + 2, dispatcher)
    assert store.job(drawing.id).ended <= again.job.begun and store.job(behind.id).phase == "waiting"
    with pytest.raises(VelaturaError, match="dusk cannot be deleted: it is training"):
        actions.delete(store, job.id, actor=MACHINE_OWNER)

    store.job(job.id).process.kill()
    view_when(store, job.id, lambda view: view.job.attempts == 3, dispatcher)
    run = Run(job.folder)
    steps = len(events_of(run, "step"))  # the summary has those of before for a moment
    view_when(store, job.id, lambda _: len(events_of(run, "step")) >= steps + 2, dispatcher)
    (restart,) = events_of(run, "restart")
    assert saved <= restart["step"] < STEPS and store.job(behind.id).phase == "waiting"  # there is one device

    finished = view_when(store, job.id, has_ended("finished"), dispatcher)
    assert finished.job.attempts == 3 and has_bits_of(uncut, run)
    assert [event["resumed"] for event in events_of(run, "start")] == [False, True, True]


@pytest.mark.thorough
def test_a_run_that_is_paused_and_stopped_ends_with_the_bits_of_an_uncut_one(store, quick, dispatcher, uncut):
    job = actions.add(store, long_run(quick), actor=MACHINE_OWNER)
    view_when(store, job.id, lambda view: view.summary.step >= 2, dispatcher)
    assert actions.stop(store, job.id, "pause", actor=MACHINE_OWNER) in ("stopping", "saving", "paused")
    paused = view_when(store, job.id, has_ended("paused"), dispatcher)
    assert paused.summary.saved == paused.summary.step >= 2 and paused.job.device == ""
    assert not (job.folder / "style").exists()
    actions.resume(store, job.id, actor=MACHINE_OWNER)
    view_when(store, job.id, lambda view: view.summary.step >= paused.summary.step + 2, dispatcher)
    actions.stop(store, job.id, actor=MACHINE_OWNER)
    stopped = view_when(store, job.id, has_ended("stopped"), dispatcher)
    style = job.folder / "style" / "dusk.safetensors"
    assert style_metadata(style)["ss_steps"] == str(stopped.summary.step) and stopped.summary.step < STEPS
    assert any(tensor.any() for name, tensor in style_tensors(style).items() if "lora_up" in name)

    actions.resume(store, job.id, actor=MACHINE_OWNER)
    finished = view_when(store, job.id, has_ended("finished"), dispatcher)
    assert finished.job.attempts == 3 and has_bits_of(uncut, Run(job.folder))
    assert [event["resumed"] for event in events_of(Run(job.folder), "start")] == [False, True, True]


def makes_way(store: Store, job: Job, first: Job) -> int:
    """Let a running run make way for another job, and settle; the step that it has saved."""
    training = psutil.Process(store.job(job.id).process.pid)
    actions.preempt(store, job.id, first.id, actor=MACHINE_OWNER)
    assert Watcher(store).view(job.id).state in ("stopping", "saving")
    with pytest.raises(VelaturaError, match=r"dusk cannot be paused: it is (already stopping|being saved|waiting)"):
        actions.preempt(store, job.id, first.id, actor=MACHINE_OWNER)
    training.wait(120)
    assert Watcher(store).view(job.id).state == "stopping", "never paused, which would be for good"
    assert settle(store) == []
    aside = Watcher(store).view(job.id)
    assert (aside.state, aside.line) == ("queued", f"1st in line, paused at step {aside.summary.saved}.")
    return aside.summary.saved


def test_two_dispatchers_start_each_of_many_jobs_once(store, fork_server, tmp_path):
    numbers = []
    for number in range(4):
        job = add_quick(store, store.runs / ".jobs" / f"job{number}")
        numbers.append(job.id)
    devices = "cuda:0,cuda:1"
    start = partial(served, fork_server, store, tmp_path / "log", devices, "until-empty")
    with start() as one, start() as other:
        assert end_of(one) == 0 and end_of(other) == 0
    views = {view.job.id: view for view in Watcher(store).views()}
    assert {(views[number].state, views[number].job.attempts) for number in numbers} == {("finished", 1)}
    for view in views.values():
        assert [event["type"] for event in read_events(view.job.folder)] == ["queued", "attempt", "working", "done"]
    begun = {number: views[number].job.begun for number in numbers}
    assert len(set(begun.values())) == 4 and store.workers() == {}


# ---------------------------------------------------------------- without any run
def test_a_claim_whose_dispatcher_died_is_given_to_the_next(store, dispatcher):
    job = add_quick(store, store.runs / "job")
    claimed = store.claim(CPU.choose, replace(own_identity(), started=1.0))  # an earlier process of our number
    assert claimed is not None and store.line() == []
    assert settle(store) == [] and [each.id for each in store.line()] == [job.id]
    view = view_when(store, job.id, has_ended("finished"), dispatcher)
    assert view.job.attempts == 1
    assert store.begin(job.id, claimed.token, own_identity()) is None  # the late child of the dead one gives up


def test_a_job_whose_holder_was_killed_is_where_it_was(store):
    jobs = [store.add(NewJob("train", store.runs / name)) for name in ("dawn", "dusk", "noon")]
    store.end(jobs[2])
    lines = (
        "import sys, pathlib; from app.jobs.processes.process import own_identity; from app.jobs.store import Store\n"
    )
    lines += "store = Store(pathlib.Path(sys.argv[1]))\n"
    lines += "print(all([store.hold(job, own_identity()) for job in store.jobs()]), flush=True)\nsys.stdin.read()\n"
    with subprocess.Popen([sys.executable, "-c", lines, store.runs], cwd=ROOT, stdin=-1, stdout=-1) as holder:
        assert holder.stdout is not None and holder.stdout.readline().strip() == b"True"
        assert settle(store) == [] and {job.phase for job in store.jobs()} == {"held"}
        holder.kill()
    journal = store.runs / ".trash" / "journal.json"
    journal.parent.mkdir()
    journal.touch()
    with FileLock(journal.with_name(".lock")):  # somebody finishes what the holder may have begun
        assert settle(store) == [] and {job.phase for job in store.jobs()} == {"held"}
    assert settle(store) == []
    assert [(job.name, job.phase) for job in store.jobs()] == [
        *(("dawn", "waiting"), ("dusk", "waiting"), ("noon", "ended"))
    ]


def test_a_job_whose_folder_is_gone_does_not_block_the_queue(store, dispatcher):
    lost = store.add(NewJob("caption", store.runs / "lost"))
    folder = actions.new_folder(store, "good")
    good = add_quick(store, folder, priority=0)
    view_when(store, good.id, has_ended("finished"), dispatcher)
    view = Watcher(store).view(lost.id)
    assert view.job.phase == "ended" and view.line == "Its folder is missing."


def test_a_process_that_ends_before_it_begins_is_said_and_its_log_shows_why(store, monkeypatch):
    dispatcher = Dispatcher(store, JOB_MODULES, CPU)
    monkeypatch.setattr(sys, "executable", sys.executable + "-that-is-not-there")
    one = add_quick(store, actions.new_folder(store, "one"))
    dispatcher.look()
    view = Watcher(store).view(one.id)
    assert view.state == "failed" and "its process could not be started: No such file" in view.line
    monkeypatch.undo()
    dispatcher = Dispatcher(store, replace(JOB_MODULES, job="app.jobs.nothing"), CPU)
    two = add_quick(store, actions.new_folder(store, "two"))
    wait_until_ended(dispatcher, two)
    view = Watcher(store).view(two.id)
    assert view.state == "failed" and view.line == "its process ended with code 1; process.log shows why"
    assert "No module named app.jobs.nothing" in (two.folder / "process.log").read_text()


def begun(store: Store, folder: Path) -> tuple[Job, subprocess.Popen[bytes]]:
    """A job whose process says and does nothing, as one that hangs."""
    store.add(NewJob("train", actions.new_folder(store, "slow")))
    return begin_next(store, folder)


def begin_next(store: Store, folder: Path) -> tuple[Job, subprocess.Popen[bytes]]:
    """The next job in line, with a process that says and does nothing."""
    slow = folder / "slow.py"
    slow.write_text("import time; time.sleep(300)")
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed is not None
    child = subprocess.Popen([sys.executable, str(slow), "-m", JOB_MODULES.job, claimed.token])
    running = store.begin(claimed.id, claimed.token, identity_of(child.pid))
    assert running is not None
    return running, child


def test_an_interrupted_run_waits_for_a_person_where_none_goes_on_by_itself(store, dispatcher, tmp_path):
    job, child = begun(store, tmp_path)
    store.set_retries(0)
    record = Recorder(job.folder)
    record("step", step=12, steps=STEPS, speed=1.0, loss=0.5)
    record("checkpoint", step=10)
    child.kill()
    child.wait()
    dispatcher.look()
    view = Watcher(store).view(job.id)
    assert (view.state, view.job.phase, view.summary.saved, view.actions[0]) == ("interrupted", "ended", 10, "resume")
    assert "Saved up to step 10." in view.line
    dispatcher.look()
    assert store.job(job.id).attempts == 1 and store.line() == []
    actions.resume(store, job.id, actor=MACHINE_OWNER)
    assert [each.id for each in store.line()] == [job.id]


def test_a_measurement_waits_again_when_something_else_wants_its_device(store, dispatcher, tmp_path):
    store.add(NewJob("estimate", actions.new_folder(store, "measurement")))
    job, child = begin_next(store, tmp_path)
    dispatcher.look()
    assert child.poll() is None and "move" not in Watcher(store).view(job.id).actions
    waiting = add_quick(store, actions.new_folder(store, "small"))
    dispatcher.look()
    assert child.wait(60) != 0 and Watcher(store).view(job.id).state == "stopping", "it has not come to nothing"
    dispatcher.look()
    assert [each.name for each in store.line()] == ["measurement"] and store.job(waiting.id).phase != "waiting"
    view_when(store, waiting.id, has_ended("finished"), dispatcher)
    wait_until(lambda: dispatcher.look() or store.job(job.id).phase != "waiting", "it does not begin again")
    view_when(store, job.id, lambda view: view.job.phase == "ended" or view.job.attempts == 2, dispatcher)


@pytest.mark.parametrize(("running", "waiting", "ends"), [("trial", "estimate", True), ("estimate", "trial", False)])
def test_a_trial_ends_for_a_measurement_but_not_the_other_way_round(
    store, dispatcher, tmp_path, running, waiting, ends
):
    store.add(NewJob(running, actions.new_folder(store, running)))
    job, child = begin_next(store, tmp_path)
    store.add(NewJob(waiting, actions.new_folder(store, waiting)))
    dispatcher.look()
    assert store.job(job.id).requested == ("yield" if ends else "")
    assert (child.wait(60) != 0) if ends else (child.poll() is None)
    dispatcher.look()
    assert [each.name for each in store.line()] == ["trial"]


def test_a_job_that_hangs_while_it_stops_is_cancelled_at_once_and_what_it_had_saved_is_kept(
    store, dispatcher, tmp_path
):
    job, child = begun(store, tmp_path)
    record = Recorder(job.folder)
    record("step", step=3, steps=9, speed=1.0, loss=0.5)
    record("checkpoint", step=3)
    assert actions.stop(store, job.id, "pause", actor=MACHINE_OWNER) == "stopping" and child.poll() is None
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    assert child.wait(60) != 0
    dispatcher.look()
    view = Watcher(store).view(job.id)
    assert (view.state, view.actions[0], view.job.device) == ("cancelled", "resume", "")
    assert view.line == "Saved up to step 3."


def test_a_run_that_is_cancelled_before_its_second_attempt_says_a_word_keeps_what_it_had(store, dispatcher, tmp_path):
    job, child = begun(store, tmp_path)
    record = Recorder(job.folder)
    record("attempt", number=1)
    record("checkpoint", step=3)
    record("paused", step=3)
    child.kill()
    child.wait()
    dispatcher.look()
    actions.resume(store, job.id, actor=MACHINE_OWNER)
    job, child = begin_next(store, tmp_path)
    assert job.attempts == 2 and Watcher(store).view(job.id).state == "preparing"
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    assert child.wait(60) != 0
    dispatcher.look()
    view = Watcher(store).view(job.id)
    assert (view.state, view.line, view.actions[0]) == ("cancelled", "Saved up to step 3.", "resume")


def test_what_a_killed_deletion_left_is_removed(store, dispatcher):
    left = store.runs / ".dusk.3.deleted" / "dataset"
    left.mkdir(parents=True)
    dispatcher.serve_once()
    assert not left.parent.exists() and store.runs.is_dir()


@pytest.mark.parametrize("loads", [False, True])
def test_a_job_that_is_killed_while_it_prepares_or_loads_its_base_is_cancelled(store, dispatcher, tmp_path, loads):
    job, child = begun(store, tmp_path)
    if loads:
        Recorder(job.folder)("phase", phase="load")
        Recorder(job.folder)("loading", base="starter")
    dispatcher.look()
    assert Watcher(store).view(job.id).state == "preparing"
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    assert child.wait(60) != 0
    dispatcher.look()
    view = Watcher(store).view(job.id)
    assert (view.state, view.job.phase, view.job.device) == ("cancelled", "ended", "")
    noted = ["phase", "loading"] if loads else []
    assert [event["type"] for event in read_events(job.folder)] == ["queued", *noted, "cancelled"]


def test_a_job_of_an_older_row_is_cancelled_at_once_after_a_step_of_the_clock(store, dispatcher, tmp_path):
    job, child = begun(store, tmp_path)
    shifted = psutil.Process(child.pid).create_time() + 5
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE jobs SET started = ?, boot = '' WHERE id = ?", (shifted, job.id))
    with Run(job.folder).training():  # as its process does, by which it is still seen
        assert Watcher(store).view(job.id).state == "preparing"
        actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
        assert child.wait(60) != 0
    dispatcher.look()
    assert Watcher(store).view(job.id).state == "cancelled"


def test_a_job_that_cannot_be_found_is_asked_to_end(store, tmp_path):
    job, child = begun(store, tmp_path)
    child.kill()
    child.wait()
    with Run(job.folder).training():
        actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
        assert Run(job.folder).asked_to_stop() == "cancel"


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs the faketime package")
def test_a_job_ends_as_it_says_where_the_clock_goes_back_while_it_runs(store):
    """The clock of its process is an hour behind the one by which its row says when it began."""
    folder = actions.new_folder(store, "one")
    job = add_quick(store, folder)
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed is not None
    work = [sys.executable, "-m", "app.studio.run_job", str(store.runs), str(job.id), claimed.token]
    variables = os.environ | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    subprocess.run(["faketime", "-f", "-1h", *work], check=True, capture_output=True, env=variables)
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE jobs SET begun = ? WHERE id = ?", (time.time(), job.id))
    assert [ended.id for ended in settle(store)] == [job.id]
    view = Watcher(store).view(job.id)
    assert view.summary.time < view.job.begun - 3000, "the clock was not behind"
    assert view.state == "finished"


def test_serving_in_the_background_survives_a_queue_that_cannot_be_used_for_a_while(store):
    store.runs.mkdir()
    store.path.write_text("no database")
    said: list[str] = []
    with Dispatcher(store, JOB_MODULES, CPU, interval=0.01, notify=said.append).in_background():
        wait_until(lambda: said, "it says nothing of the damage")
        store.path.unlink()
        folder = actions.new_folder(store, "one")
        job = add_quick(store, folder)
        view_when(store, job.id, lambda view: view.job.phase == "ended")
    assert len(said) == 3 and "is damaged or not a Velatura queue" in said[0]
    assert said[1] == "one: starts on cpu" and said[2].startswith("one: finished. Done")
    assert not any(thread.name == "dispatcher" for thread in threading.enumerate())


def test_a_worker_goes_on_after_a_look_that_failed(store):
    add_quick(store, actions.new_folder(store, "one"))
    journal = store.runs / ".trash" / "journal.json"
    journal.mkdir(parents=True)  # which cannot be read
    said: list[str] = []

    def tell(words: str) -> None:
        said.append(words)
        if journal.exists():
            journal.rmdir()

    Dispatcher(store, JOB_MODULES, CPU, interval=0.01, notify=tell).serve(until_empty=True)
    assert len(said) == 3 and "Is a directory" in said[0] and said[2].startswith("one: finished")


def test_once_starts_what_fits_and_leaves_it_running(store, dispatcher):
    jobs = [add_quick(store, actions.new_folder(store, name)) for name in "ab"]
    dispatcher.serve_once()
    assert [store.job(job.id).phase == "waiting" for job in jobs] == [False, True] and store.workers() == {}
    view_when(store, jobs[0].id, has_ended("finished"), dispatcher)
    events = (jobs[0].folder / "events.jsonl").read_text().splitlines()
    assert json.loads(events[-1])["type"] == "done"
    view_when(store, jobs[1].id, has_ended("finished"), dispatcher)
