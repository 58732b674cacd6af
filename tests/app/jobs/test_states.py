"""States and sentences from rows, processes and events."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.jobs.events.summary import Summary
from app.jobs.processes.process import Identity, own_identity
from app.jobs.states import IN_WORDS, LOST, State, actions_for, describe, find_state, is_alive
from app.jobs.store import Job
from app.units import ordinal, readable_time
from trainers.messages import Message

GONE = Identity("", 0, 0.0)
JOB = Job(
    id=3, kind="train", folder=Path("dusk"), command=(), cwd=Path(), owner="", wants="auto", priority=0, position=1,
    phase="running", requested="", device="cpu", token="t", process=GONE, attempts=1, added=1.0, begun=10.0, ended=0.0,
)  # fmt: skip


def told(*events: str | dict) -> Summary:
    """A summary of events by their kinds, one a second from second 11 on; a step is of 4."""
    more = {
        "step": {"step": 1, "steps": 4, "speed": 0.5, "loss": 0.25},
        "start": {"steps": 4, "method": "lora"},
        "drawing": {"picture": 2, "pictures": 3},
        "checkpoint": {"step": 1},
        "loading": {"base": "starter"},
        "error": {"message": "it broke"},
        "stopped": {"step": 1},
        "paused": {"step": 1},
    }
    tables = [event if isinstance(event, dict) else {"type": event, **more.get(event, {})} for event in events]
    return Summary().after({"time": 11.0 + second, **table} for second, table in enumerate(tables))


LAST = {"type": "step", "step": 4, "steps": 4, "speed": 2.0, "loss": 0.5}
SAVED = {"type": "checkpoint", "step": 4}
BEGUN = ("images", "loading", "start")


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((), "preparing"),
        (("images",), "preparing"),
        (("images", "loading"), "preparing"),
        (BEGUN, "preparing"),
        ((*BEGUN, "drawing"), "sampling"),
        ((*BEGUN, "drawing", "sample"), "training"),
        ((*BEGUN, "step"), "training"),
        ((*BEGUN, "step", "note", "warning"), "training"),
        ((*BEGUN, "step", "checkpoint"), "training"),
        ((*BEGUN, "step", "drawing"), "sampling"),
        ((*BEGUN, LAST), "training"),
        ((*BEGUN, LAST, SAVED), "saving"),
        ((*BEGUN, LAST, SAVED, "export"), "saving"),
        ((*BEGUN, LAST, SAVED, "export", "drawing"), "sampling"),
        ((*BEGUN, LAST, SAVED, "export", "drawing", "sample"), "saving"),
        ((*BEGUN, LAST, SAVED, "export", "drawing", "sample", "final"), "saving"),
        ((*BEGUN, LAST, "done"), "saving"),  # until its process is gone, with its device
        (("anew", "error"), "stopping"),
        (("working",), "working"),
    ],
)
def test_the_state_of_what_runs(events, state):
    assert find_state(JOB, True, told(*events)) == state


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((), "interrupted"),
        (("images", "loading"), "interrupted"),
        ((*BEGUN, "step", "checkpoint"), "interrupted"),
        ((*BEGUN, "step", "done"), "finished"),
        ((*BEGUN, "step", "stopped", "note"), "stopped"),
        ((*BEGUN, "step", "paused"), "paused"),
        ((*BEGUN, "step", "cancelled"), "cancelled"),
        ((*BEGUN, "step", "error"), "failed"),
        ((*BEGUN, "step", "error", "loading"), "interrupted"),
        ((*BEGUN, "step", "paused", "loading", "start", "step"), "interrupted"),
        (("working", "done"), "finished"),
    ],
)
@pytest.mark.parametrize("phase", ["running", "ended"])
def test_the_state_of_what_has_no_process(events, state, phase):
    assert find_state(replace(JOB, phase=phase), False, told(*events)) == state


def test_the_state_of_what_waits():
    for events in ((), BEGUN, (*BEGUN, "step", "paused")):
        assert find_state(replace(JOB, phase="waiting"), False, told(*events)) == "queued"
        assert find_state(replace(JOB, phase="claimed"), True, told(*events)) == "preparing"
    for events in ((), BEGUN, (*BEGUN, "step", "paused")):
        assert find_state(replace(JOB, phase="held", held_from="waiting"), True, told(*events)) == "queued"
    assert find_state(replace(JOB, phase="held", held_from="ended"), False, told(*BEGUN, "error")) == "failed"


def test_what_was_said_before_this_attempt_does_not_count():
    later = replace(JOB, begun=100.0)
    failed = told(*BEGUN, "step", "error")
    assert find_state(later, True, failed) == "preparing" and find_state(later, False, failed) == "interrupted"
    assert describe(State.PREPARING, failed) == "Starting …"


def test_a_run_that_has_failed_says_why_while_its_process_ends():
    assert describe(State.STOPPING, told("anew", "error")) == "it broke"


def test_a_request_is_seen_until_it_is_followed():
    for how in ("save", "pause", "cancel"):
        asked = replace(JOB, requested=how)
        assert find_state(asked, True, told(*BEGUN, "step")) == "stopping"
        assert find_state(asked, True, told(*BEGUN, LAST, SAVED)) == "saving"
    aside = replace(JOB, requested="yield")
    assert find_state(aside, True, told(*BEGUN, "step")) == "stopping"
    assert find_state(aside, False, told(*BEGUN, "step", "paused")) == "stopping"  # and waits again in a moment
    assert find_state(aside, False, told(*BEGUN, LAST, "done")) == "finished"
    cancelled = replace(JOB, requested="cancel")
    assert find_state(cancelled, False, told(*BEGUN)) == "cancelled"
    assert find_state(cancelled, False, told(*BEGUN, "step", "checkpoint")) == "cancelled"


def test_a_run_that_goes_on_outside_of_the_queue_is_seen():
    ended = replace(JOB, phase="ended")
    assert find_state(ended, True, told(*BEGUN, "step", "paused", "loading", "start", "step")) == "training"


def test_numbers_of_a_run():
    said = told(*BEGUN, "step", "checkpoint", {"type": "skipped", "step": 2, "steps": 4, "speed": 0.5, "loss": "nan"})
    assert (said.step, said.steps, said.saved, said.loss, said.seconds_left) == (2, 4, 1, 0.25, 4.0)
    assert dict(said.facts) == {"steps": 4, "method": "lora"} and said.time == 16.0
    again = said.after([{"type": "loading", "base": "b", "time": 20.0}])
    assert (again.step, again.saved, again.seconds_left) == (1, 1, None)  # from its checkpoint
    assert said.after([{"type": "anew"}]).step == 0


def test_the_time_left_and_the_phase_are_what_the_run_says():
    drawing = {"type": "drawing", "picture": 2, "pictures": 3, "seconds_left": 50.0}
    denoising = {"type": "denoising", "picture": 2, "pictures": 3, "done": 5, "of": 8, "seconds_left": 49.0}
    said = told(*BEGUN, {"type": "phase", "phase": "train"}, LAST | {"seconds_left": 60.0})
    assert (said.phase, said.seconds_left) == ("train", 60.0)
    assert describe(State.TRAINING, said) == "Step 4 of 4, 60 s left."
    said = told(*BEGUN, LAST, SAVED, {"type": "phase", "phase": "after"}, drawing, denoising)
    assert (said.doing, said.pictures, said.denoising, said.seconds_left) == ("sampling", (2, 3), (5, 8), 49.0)
    assert describe(State.SAMPLING, said) == "Drawing picture 2 of 3, 49 s left."
    assert describe(State.STOPPING, said) == "Its style is saved. Drawing picture 2 of 3 …"
    assert actions_for(JOB, State.STOPPING, phase=said.phase) == ("stop",)
    again = told(*BEGUN, "step", {"type": "phase", "phase": "after"}, drawing, "sample")
    assert find_state(JOB, True, again) == "saving"
    assert again.after([{"type": "attempt", "number": 2, "time": 99.0}]).seconds_left is None


def test_how_long_a_waiting_run_will_take_is_known_where_it_was_measured_or_has_run():
    assert told().duration is None and told({"type": "expected", "seconds": 90.0}).duration == 90.0
    part = told({"type": "expected", "seconds": 90.0}, *BEGUN, "checkpoint", LAST | {"seconds_left": 10.0}, "paused")
    assert part.duration == 10.0 + 0 / 2.0  # and the steps since its checkpoint
    assert told({"type": "expected", "seconds": 90.0}, {"type": "anew"}).duration == 90.0


def test_what_it_takes_is_counted_over_all_attempts_and_not_in_between():
    first = [{"type": "loading", "time": 100.0}, {"type": "step", "step": 1, "time": 130.0, "lr": 0.1, "memory": 7}]
    said = Summary().after(first)
    assert (said.seconds, said.rate, said.memory) == (30.0, 0.1, 7)
    said = said.after([{"type": "loading", "time": 900.0}, {"type": "paused", "step": 1, "time": 904.0}])
    assert said.seconds == 34.0  # the first attempt was killed, and nobody knows how long it went on
    said = said.after([{"type": "loading", "time": 2000.0}, {"type": "done", "step": 2, "time": 2006.5}])
    assert said.seconds == 40.5


def test_how_far_a_run_is_falls_only_if_steps_are_lost_or_added():
    def step(number, left, time):
        return {"type": "step", "step": number, "steps": 40, "time": time, **({"seconds_left": left} if left else {})}

    shares, said = [], Summary()
    for event in (
        {"type": "loading", "time": 0.0},
        {"type": "start", "steps": 40, "time": 10.0},
        step(2, None, 11.0),  # 2 of 40 steps
        step(4, 18.0, 12.0),  # 12 of 30 seconds
        step(5, 37.0, 13.0),  # it takes longer than was thought
        {"type": "checkpoint", "step": 5, "time": 13.0},
        {"type": "paused", "step": 5, "time": 13.0},
        {"type": "attempt", "number": 2, "time": 99.0},
        {"type": "start", "steps": 40, "time": 99.0},
        step(6, 14.0, 100.0),  # 14 of 28 seconds
        {"type": "attempt", "number": 3, "time": 200.0},  # after a kill: from step 5 on
        {"type": "start", "steps": 80, "time": 200.0},
    ):
        said = said.after([event])
        shares.append(round(said.reached, 4))
    assert shares == [0, 0, 0.05, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.5, 0.4167, 0.0625]
    assert said.after([step(80, 0.01, 201.0)]).reached == 0.99
    for lost in ("rollback", "damaged"):
        steps = [step(number, 40 - number, float(number)) for number in range(1, 37)]
        said = Summary().after([{"type": "start", "steps": 40, "time": 0.0}, *steps])
        assert said.reached == 0.9
        said = said.after([{"type": lost, "step": 36, "saved": 12, "time": 36.0}])
        assert said.reached == pytest.approx(0.3) and said.seconds == 36.0
        for number in (13, 24, 36):
            said = said.after([step(number, 40 - number, 24.0 + number)])
            assert said.reached == pytest.approx(number / 40)


def test_an_early_forecast_that_is_too_low_moves_a_run_on_by_little():
    def reached(number, left, said):
        event = {"type": "step", "step": number, "steps": 1000, "time": 10.0 + number, "seconds_left": left}
        return said.after([event])

    said = reached(2, 0.6, Summary().after([{"type": "loading", "time": 0.0}]))
    assert said.reached == pytest.approx(0.008), "12 of 12.6 seconds"
    assert reached(40, 950.0, said).reached == pytest.approx(0.05)


def test_a_small_job_says_how_far_it_is_and_what_it_found():
    said = told({"type": "working", "message": "Drawing …", "done": 8, "of": 24})
    assert (said.doing, said.share, describe(State.WORKING, said)) == ("working", (8, 24), "Drawing …")
    said = said.after(
        [{"type": "estimate", "seconds": 60.5, "memory": 5, "time": 20.0}, {"type": "done", "time": 21.0}]
    )
    assert (said.ended, dict(said.facts)) == ("finished", {"seconds": 60.5, "memory": 5})


@pytest.mark.parametrize(
    ("state", "said", "line"),
    [
        ("queued", told(), "2nd in line."),
        ("queued", told(*BEGUN, "step", "checkpoint", "paused"), "2nd in line, paused at step 1."),
        ("preparing", told("loading"), "Reading the base model Velatura starter …"),
        ("preparing", told("loading", "start"), "Preparing the pictures …"),
        ("training", told(*BEGUN, "step"), "Step 1 of 4, 6 s left."),
        ("sampling", told(*BEGUN, "drawing"), "Drawing picture 2 of 3 …"),
        ("paused", told(*BEGUN, "step", "checkpoint", "paused"), "Saved at step 1."),
        ("failed", told("error"), "it broke"),
        (
            "finished",
            told({"type": "loading", "time": 100.0}, {"type": "done", "step": 4, "time": 1360.0}),
            "Done in 21 min.",
        ),
        ("interrupted", told("loading"), "The computer or the program stopped before the first step."),
        (
            "interrupted",
            told(*BEGUN, "step"),
            "The computer or the program stopped at step 1. Nothing was saved yet.",
        ),
        (
            "interrupted",
            told(*BEGUN, "step", "checkpoint", "step"),
            "The computer or the program stopped at step 1. Saved up to step 1.",
        ),
    ],
)
def test_one_sentence(state, said, line):
    assert describe(State(state), said, place=2) == line


def test_what_a_job_has_said_can_be_said_in_other_languages():
    made_from = {"template": "{what} broke", "named": {"what": "it"}}
    other = {"template": "all is well"}
    for record, template in ((made_from, "{what} broke"), (None, "it broke"), (other, "it broke")):
        line = describe(State.FAILED, told({"type": "error", "message": "it broke", "said": record}))
        assert isinstance(line, Message) and (line, line.template) == ("it broke", template)


def test_words():
    assert describe(State.QUEUED, told(), 1, 0.0) == "1st in line, starts soon."
    assert describe(State.QUEUED, told(), 1, 700.0) == "1st in line, starts in about 12 min."
    numbers = {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 21: "21st", 112: "112th"}
    assert {number: ordinal(number) for number in numbers} == numbers
    assert [readable_time(s) for s in (8.4, 89, 120, 160, 5399, 5400)] == [
        *("8 s", "89 s", "2 min", "2.5 min", "90 min", "1.5 h")
    ]
    for state in State:
        assert re.match("it (is|was|has) ", IN_WORDS[state])
        assert isinstance(describe(state, told(*BEGUN, "step"), 1), str)


def test_what_one_may_do():
    assert actions_for(JOB, State.TRAINING) == ("stop", "draw", "pause", "clone", "cancel")
    assert actions_for(JOB, State.INTERRUPTED)[0] == "resume" and actions_for(JOB, State.FAILED)[0] == "retry"
    assert actions_for(JOB, State.SAVING) == () and actions_for(JOB, State.STOPPING) == ("cancel",)
    assert actions_for(JOB, State.PREPARING) == ("cancel",)
    assert actions_for(JOB, State.PREPARING, saved=3) == ("stop", "pause", "cancel")
    small = replace(JOB, kind="generate")
    assert actions_for(small, State.WORKING) == ("cancel",) and "pause" not in actions_for(small, State.QUEUED)


# ---------------------------------------------------------------- whose process lives
def test_a_process_of_this_machine_is_looked_at_itself(tmp_path):
    job = replace(JOB, folder=tmp_path, process=own_identity())
    assert is_alive(job) and is_alive(replace(job, phase="claimed"))
    gone = replace(job, process=replace(job.process, started=1.0))
    assert not is_alive(gone) and not is_alive(replace(gone, phase="claimed"))


def test_a_run_that_somebody_trains_is_alive_whatever_its_row_says(tmp_path):
    lines = "from pathlib import Path; from trainers.runs.run import Run; import sys\n"
    lines += "with Run(Path(sys.argv[1])).training():\n    print('held', flush=True)\n    sys.stdin.read()\n"
    with subprocess.Popen([sys.executable, "-c", lines, tmp_path], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None and process.stdout.readline().strip() == b"held"
        gone = replace(JOB, folder=tmp_path, process=replace(own_identity(), started=1.0))
        assert is_alive(gone) and is_alive(replace(gone, phase="ended"))
        process.kill()
    # Its last heartbeat is fresh, but its lock is free.
    assert not is_alive(gone) and not is_alive(replace(gone, phase="ended"))


def test_a_process_of_another_machine_is_known_by_its_heartbeat(tmp_path):
    far = replace(JOB, folder=tmp_path, process=Identity("elsewhere", 7, 1.0))
    assert not is_alive(far)
    (tmp_path / ".heartbeat").touch()
    assert is_alive(far)
    old = time.time() - LOST - 1
    os.utime(tmp_path / ".heartbeat", (old, old))
    assert not is_alive(far)
    assert is_alive(replace(far, phase="claimed", begun=time.time())) and not is_alive(replace(far, phase="claimed"))
    held = replace(far, phase="held", held_since=time.time())
    assert is_alive(held) and not is_alive(replace(held, held_since=old))
