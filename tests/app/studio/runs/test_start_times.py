"""When waiting runs start."""

from __future__ import annotations

import os

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.process import identity_of
from app.jobs.store import TRAIN, NewJob
from app.studio.runs.estimates import Cost, Measured, Pace, pace_key, work_of
from app.studio.runs.start_times import StartTimes
from app.studio.studio_queue import StudioQueue
from app.ui.components.runs import text as words
from app.ui.runs.head_view import read_head
from tests.app.ui.ended_runs import write_run
from trainers.runs.events import Recorder
from trainers.runs.run import Run


def waits_of(queue: StudioQueue, *names: str) -> list[float | None]:
    """Seconds until these runs start, asked in this order."""
    times = StartTimes(queue.paths, queue.jobs)
    return [times.seconds_until(queue.find(name)) for name in names]


def test_a_run_starts_when_those_before_it_are_done_as_far_as_they_were_measured(queue: StudioQueue) -> None:
    store, runs = queue.store, queue.store.runs
    for name in ("going", "one", "two", "three"):
        run = write_run(runs, name, {"train": {"steps": 40, "warmup": 0}, "sample": {"prompts": ["a boat"]}})
        (run / "events.jsonl").write_text("")
        store.add(NewJob(TRAIN, run))
    views = {name: queue.find(name) for name in ("one", "two", "three")}
    assert waits_of(queue, *views) == [None] * 3, "nothing was measured"

    claimed = store.claim(lambda *_: "cpu", identity_of(os.getpid()))
    assert claimed is not None
    store.begin(claimed.id, claimed.token, identity_of(os.getpid()))
    record = Recorder(claimed.folder)
    record("attempt", number=1)
    record("step", step=10, steps=40, speed=1.0, seconds_left=50.0)
    Measured(queue.paths).keep(Run(runs / "one").config(), 0, Cost(100.0, 1, 1, 1))
    assert waits_of(queue, "one", "two", "three") == [50.0, 150.0, 250.0]
    assert waits_of(queue, "three", "one", "two", "going") == [250.0, 50.0, 150.0, None], "in any order"
    two = queue.find("two")
    assert words.line(two, 150.0) == "2nd in line, starts in about 2.5 min."
    assert read_head(two, MACHINE_OWNER, 150.0).line == "2nd in line, starts in about 2.5 min."
    assert words.line(two) == "2nd in line."

    for name in ("longer", "last"):  # added without the studio, and like none that was measured but for the base
        run = write_run(runs, name, {"train": {"steps": 60, "warmup": 0}})
        (run / "events.jsonl").write_text("")
        store.add(NewJob(TRAIN, run))
    assert waits_of(queue, "last", "longer") == [None, 350.0]
    other = Run(runs / "two").config()
    pace = Pace(pace_key(other), work_of(other), step=2.0, once=10.0, at=0.0, load=0.0)
    Measured(queue.paths).keep(other, 7, Cost(90.0, 1, 1, 1, pace=pace))
    assert waits_of(queue, "longer", "last") == [350.0, 480.0]
