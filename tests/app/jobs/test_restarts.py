"""Runs that go on by themselves: after whatever was no fault of theirs, as often as the queue says, and never else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.jobs import actions
from app.jobs.dispatcher import Dispatcher, settle
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.fork_server import ForkServer
from app.jobs.processes.process import identity_of, own_identity
from app.jobs.restarts import find_restart, restart
from app.jobs.states import hangs_for_good
from app.jobs.store import RETRIES, Job, NewJob, Store
from app.jobs.views import Watcher
from app.studio.job_modules import JOB_MODULES
from tests.app.jobs.processes.children import end_of
from tests.app.jobs.working import CPU, add_quick, line, state_of, wait_until_ended
from tests.trainers.process.test_oom import small_cgroup
from tests.trainers.tiny_runs import events_of
from tests.waiting import wait_until
from trainers.errors import OUT_OF_MEMORY, VelaturaError
from trainers.process.heartbeat import Beat
from trainers.runs.events import Recorder
from trainers.runs.run import Run

__all__ = ["small_cgroup"]

CRASHING = replace(JOB_MODULES, job="tests.app.jobs.crasher")
SLEEPS = "import time; time.sleep(300)"


def begin(store: Store, number: int = 0) -> tuple[Job, subprocess.Popen[bytes]]:
    """A run whose process says and does nothing; a new one, or the first in line, which is number `number`."""
    if not number:
        number = store.add(NewJob("train", actions.new_folder(store, "dusk"))).id
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed is not None and claimed.id == number
    child = subprocess.Popen([sys.executable, "-c", SLEEPS])
    running = store.begin(number, claimed.token, identity_of(child.pid))
    assert running is not None
    return running, child


def killed(store: Store, number: int = 0, *, saved: int = 0) -> Job:
    """A run that has said that it saved a step, and whose process was then killed."""
    job, child = begin(store, number)
    record = Recorder(job.folder)
    record("attempt", number=job.attempts)
    if saved:
        record("step", step=saved, steps=90, speed=1.0, loss=0.5)
        record("checkpoint", step=saved)
    child.kill()
    child.wait()
    return job


def test_an_interrupted_run_goes_on_until_it_has_made_no_progress_twice(store):
    job = killed(store)
    assert RETRIES == 2 and settle(store) == [] and state_of(store, job.id) == "queued"
    killed(store, job.id, saved=10)
    assert settle(store) == [] and store.job(job.id).restarts == 1, "what it saved counts as progress"
    for expected in (2, 0):
        killed(store, job.id, saved=10)
        settle(store)
        assert store.job(job.id).restarts == (expected or 2)
    view = Watcher(store).view(job.id)
    assert (view.state, view.job.phase) == ("interrupted", "ended")
    assert view.line.endswith("Saved up to step 10. It had already restarted by itself twice.")
    messages = [event["message"] for event in events_of(Run(job.folder), "restart")]
    assert messages == [
        "The computer or the program stopped; it restarts from zero by itself (restart 1 of 2)",
        "The computer or the program stopped; it continues from step 10 by itself (restart 1 of 2)",
        "The computer or the program stopped; it continues from step 10 by itself (restart 2 of 2)",
    ]


@pytest.mark.parametrize("saved", [0, 10])
def test_a_run_that_is_cancelled_while_it_waits_to_go_on_is_cancelled(store, saved):
    job = killed(store, saved=saved)
    settle(store)
    assert state_of(store, job.id) == "queued"
    assert actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER) == "cancelled"
    view = Watcher(store).view(job.id)
    assert (view.state, view.line) == ("cancelled", "Saved up to step 10." if saved else "")


def test_it_goes_before_every_other_run_and_behind_small_jobs(store):
    job = killed(store, saved=10)
    other = store.add(NewJob("train", actions.new_folder(store, "other"), priority=5))
    add_quick(store, actions.new_folder(store, "picture"))
    settle(store)
    assert line(store) == ["picture", "dusk", "other"]
    view = Watcher(store).view(job.id)
    assert view.line == "1st in line. It was interrupted and continues from step 10 by itself."
    assert store.job(other.id).restarts == 0


def test_the_queue_says_how_often_and_a_person_s_resume_counts_anew(store):
    job = killed(store)
    store.set_retries(1)
    settle(store)
    killed(store, job.id)
    settle(store)
    assert state_of(store, job.id) == "interrupted"
    store.set_retries(0)
    other = killed_other(store)
    settle(store)
    assert state_of(store, other.id) == "interrupted"
    store.set_retries(1)
    assert store.put_in_line(store.job(job.id)) and store.job(job.id).restarts == 0


def killed_other(store: Store) -> Job:
    return killed(store, store.add(NewJob("train", actions.new_folder(store, "other"))).id)


@pytest.mark.parametrize(("how", "state"), [("save", "interrupted"), ("pause", "interrupted"), ("cancel", "cancelled")])
def test_what_a_person_asked_for_wins(how, state, store):
    job, child = begin(store)
    record = Recorder(job.folder)
    record("attempt", number=1)
    record("step", step=4, steps=9, speed=1.0)
    record("checkpoint", step=4)
    actions.stop(store, job.id, how, actor=MACHINE_OWNER)
    child.kill()
    child.wait()
    settle(store)
    assert state_of(store, job.id) == state and store.job(job.id).restarts == 0


def test_a_stop_file_in_the_folder_is_a_person_s_too(store):
    job, child = begin(store)
    Run(job.folder).ask_to_stop()
    child.kill()
    child.wait()
    settle(store)
    assert state_of(store, job.id) == "interrupted"


def test_a_run_that_was_killed_while_it_made_way_goes_on_and_does_not_pause(store):
    job, child = begin(store)
    record = Recorder(job.folder)
    record("attempt", number=1)
    record("step", step=4, steps=9, speed=1.0)
    actions.preempt(store, job.id, first=job.id, actor=MACHINE_OWNER)
    child.kill()
    child.wait()
    settle(store)
    assert state_of(store, job.id) == "queued" and Run(job.folder).asked_to_stop() is None


def test_an_error_of_its_own_and_small_jobs_are_left_to_people(store):
    job = killed(store)
    Recorder(job.folder)("error", message="the loss is not a number")
    settle(store)
    assert state_of(store, job.id) == "failed"
    folder = actions.new_folder(store, "picture")
    small = killed(store, store.add(NewJob("generate", folder)).id)
    settle(store)
    assert state_of(store, small.id) == "interrupted"


def test_a_crash_is_an_error_of_its_own(store):
    job = store.add(NewJob("train", actions.new_folder(store, "dusk")))
    dispatcher = Dispatcher(store, CRASHING, CPU)
    wait_until_ended(dispatcher, job)
    view = Watcher(store).view(job.id)
    assert (view.state, view.line) == ("failed", "its process crashed (SIGSEGV); process.log shows why")
    assert view.job.attempts == 1


@pytest.mark.parametrize(("last", "state"), [("done", "finished"), ("paused", "paused")])
def test_a_crash_after_its_last_word_takes_nothing_back(store, last, state):
    folder = actions.new_folder(store, "dusk")
    (folder / "last").write_text(last)
    job, dispatcher = store.add(NewJob("train", folder)), Dispatcher(store, CRASHING, CPU)
    wait_until_ended(dispatcher, job)
    assert state_of(store, job.id) == state


def crashed(store: Store) -> tuple[Job, Dispatcher]:
    """A run that has crashed, and its dispatcher, which has not seen that yet."""
    job, dispatcher = store.add(NewJob("train", actions.new_folder(store, "dusk"))), Dispatcher(store, CRASHING, CPU)
    dispatcher.look()
    wait_until(lambda: store.job(job.id).process.collectors(), "it does not crash")
    return store.job(job.id), dispatcher


def test_a_crash_that_others_see_first_is_left_to_the_dispatcher_who_learns_of_it(store, monkeypatch):
    job, dispatcher = crashed(store)
    store.enter(own_identity(), ("cpu",))
    settle(store)  # as an action in the dispatcher's process does
    code = "import pathlib, sys; from app.jobs import dispatcher, store; "
    code += "print(dispatcher.settle(store.Store(pathlib.Path(sys.argv[1]))))"
    other = [sys.executable, "-c", code, str(store.runs)]
    assert subprocess.run(other, check=True, capture_output=True, text=True).stdout == "[]\n"
    assert store.job(job.id) == job, "left as it was"
    note = dispatcher._note_crash
    monkeypatch.setattr(dispatcher, "_note_crash", lambda *words: (settle(store), note(*words)))  # in the last moment
    dispatcher.look()
    assert (state_of(store, job.id), store.job(job.id).phase) == ("failed", "ended")


def test_what_no_dispatcher_is_to_collect_any_more_goes_on_by_itself(store):
    job, dispatcher = crashed(store)
    store.enter(own_identity(), ("cpu",))
    store.request(job, "cancel")
    assert [each.id for each in settle(store)] == [job.id], "a person waits for that"
    dispatcher.look()
    assert state_of(store, job.id) == "cancelled"
    job, _ = crashed(Store(store.runs / "others"))
    others = Store(job.folder.parents[1])
    settle(others)  # its dispatcher has left
    assert state_of(others, job.id) == "queued"
    job, _ = crashed(Store(store.runs / "third"))
    third = Store(job.folder.parents[1])
    third.enter(own_identity(), ("cpu",))
    settle(third, children=frozenset())  # the dispatcher of this process did not start it
    assert state_of(third, job.id) == "queued"


# ---------------------------------------------------------------- memory
def do_next_in_a_process(store: Store, fork_server: ForkServer, module: str, *more: str) -> tuple[int, str]:
    """Do the first job in line in a process that has done nothing before; its exit code and what it printed."""
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed is not None
    words, log = [*more, str(store.runs), str(claimed.id), claimed.token], store.runs / "log"
    child = fork_server.start(module, words, log, {})
    code = end_of(child)
    child.collect()
    return code, log.read_text(encoding="utf-8")


def test_a_run_without_enough_memory_goes_on_once_with_settings_that_need_less(store, quick, fork_server):
    large = {"data": {"resolution": 256}, "train": {"batch_size": 24, "steps": 1}, "sample": {"prompts": []}}
    job = actions.add(store, quick("dusk", large), actor=MACHINE_OWNER)
    code, said = do_next_in_a_process(store, fork_server, "tests.app.jobs.limited", str(16 * 2**20))
    assert code == 1 and "Error" in said
    failed = events_of(Run(job.folder), "error")[-1]
    assert failed.get("code") == OUT_OF_MEMORY, failed
    assert failed["message"].startswith("not enough memory")
    assert restart(store, store.job(job.id)) and state_of(store, job.id) == "queued"
    code, said = do_next_in_a_process(store, fork_server, "app.studio.run_job")
    assert code == 0, said
    settle(store)
    assert state_of(store, job.id) == "finished"
    settings = Run(job.folder).config().train
    assert (settings.batch_size, settings.accumulation, settings.gradient_checkpointing) == (1, 24, True)
    (said,) = events_of(Run(job.folder), "restart")
    assert said["low_memory"] and said["message"].startswith(
        "There was not enough memory; it restarts from zero by itself"
    )


def test_a_run_that_the_kernel_killed_for_memory_goes_on_once_with_less(store, quick, small_cgroup):
    job = actions.add(store, quick("dusk", {"train": {"batch_size": 2}}), actor=MACHINE_OWNER)
    for attempt in (1, 2):
        claimed = store.claim(CPU.choose, own_identity())
        command = [sys.executable, "-m", "app.studio.run_job", str(store.runs), str(job.id), claimed.token]
        inside = ["sh", "-c", f'echo $$ > "{small_cgroup}/cgroup.procs"; exec "$@"', "sh", *command]
        child = subprocess.Popen(inside, cwd=Path(__file__).parents[3], env=os.environ | {"GOMP_SPINCOUNT": "0"})
        assert child.wait(120) == -9
        assert store.job(job.id).attempts == attempt
        settle(store)
        assert state_of(store, job.id) == ("queued" if attempt == 1 else "interrupted")
    assert store.job(job.id).low_memory and store.job(job.id).restarts == 0
    assert [event["low_memory"] for event in events_of(Run(job.folder), "restart")] == [True]


# ---------------------------------------------------------------- hanging
def silent_for(job: Job, seconds: float, monkeypatch: pytest.MonkeyPatch, usual: float = 0.0) -> None:
    """Let a run's own heartbeat say that it has said nothing for so long."""
    now = time.monotonic()
    beat = Beat(at=now, spoke=now - seconds, usual=usual, pid=job.process.pid)
    monkeypatch.setattr("trainers.runs.run.read_beat", lambda file: beat if file.parent == job.folder else None)


def test_a_run_that_hangs_is_shown_so_ended_and_goes_on(store, monkeypatch):
    job, child = begin(store)
    record = Recorder(job.folder)
    record("attempt", number=1)
    record("step", step=7, steps=9, speed=1.0, loss=0.5)
    silent_for(job, 590, monkeypatch)
    assert state_of(store, job.id) == "training"
    silent_for(job, 700, monkeypatch, usual=40.0)
    assert state_of(store, job.id) == "training", "20 of its usual steps are more"
    silent_for(job, 700, monkeypatch)
    view = Watcher(store).view(job.id)
    assert (view.state, view.line, view.actions) == (
        "hanging",
        "Nothing has happened for 12 min at step 7. Stop it, then start it again.",
        ("cancel",),
    )

    store.set_retries(0)
    told: list[str] = []
    dispatcher = Dispatcher(store, JOB_MODULES, CPU, notify=told.append)
    dispatcher._end_hanging()
    assert child.poll() is None, "without restarts it is only shown"
    store.set_retries(2)
    dispatcher._end_hanging()
    assert child.poll() is None, "its first step may take so long"
    silent_for(job, 3700, monkeypatch)
    assert hangs_for_good(job)
    silent_for(job, 700, monkeypatch, usual=1.0)
    dispatcher._end_hanging()
    assert child.wait(60) == -9 and told == ["dusk: it was hanging and has been stopped"]
    settle(store)
    assert state_of(store, job.id) == "queued" and store.job(job.id).restarts == 1


def test_a_hanging_run_that_a_person_cancels_is_ended_at_once_and_stays_so(store, monkeypatch):
    job, child = begin(store)
    record = Recorder(job.folder)
    record("attempt", number=1)
    record("step", step=7, steps=9, speed=1.0, loss=0.5)
    record("checkpoint", step=7)
    silent_for(job, 700, monkeypatch)
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    assert child.wait(60) == -9
    settle(store)
    assert state_of(store, job.id) == "cancelled"


def test_what_an_earlier_attempt_left_hangs_nothing(store, monkeypatch):
    job, child = begin(store)
    silent_for(replace(job, process=replace(job.process, pid=job.process.pid + 1)), 5000, monkeypatch)
    assert state_of(store, job.id) == "preparing"
    child.kill()
    child.wait()


def test_a_process_whose_job_was_given_to_another_ends_at_once(store, quick, tmp_path):
    job = actions.add(store, quick("dusk", {"train": {"steps": 5000}}), actor=MACHINE_OWNER)
    claimed = store.claim(CPU.choose, own_identity())
    code = (
        "from app.jobs.processes import claim; claim.WATCH = 0.05\n"
        "import sys, app.studio.run_job as work; sys.exit(work.main(*sys.argv[1:]))"
    )
    words = [str(store.runs), str(job.id), claimed.token]
    child = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: store.job(job.id).phase == "running", "it does not begin")
    assert store.restart(store.job(job.id), 1, 0, False)  # as another machine that sees no heartbeat
    again = store.claim(CPU.choose, own_identity())
    assert again is not None and again.id == job.id
    _, said = child.communicate(timeout=120)
    assert child.returncode == 1 and "was given to another process; this one exits" in said


def test_no_restart_is_found_for_a_run_without_folder(store):
    job = store.add(NewJob("train", store.runs / "lost"))
    with pytest.raises(VelaturaError):
        store.job(99)
    assert find_restart(store, job) is None
