"""Which dead runs restart by themselves, decided without a process: the one that had the run is no longer there."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from app.jobs import actions
from app.jobs.dispatcher import settle
from app.jobs.processes.process import own_identity
from app.jobs.restarts import find_restart, low_memory_changes
from app.jobs.store import Job, NewJob, Store
from tests.app.jobs.working import CPU
from trainers.process.heartbeat import Beat
from trainers.runs.events import Recorder
from trainers.runs.run import HEARTBEAT, Run

GONE = replace(own_identity(), started=1.0)
"""A process that had this one's number before."""


def dead_run(store: Store, saved: int = 0) -> Job:
    """The first run in line, or a new one, whose process is gone and has saved this step."""
    if not store.exists() or not store.line():
        store.add(NewJob("train", actions.new_folder(store, "dusk")))
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed is not None
    job = store.begin(claimed.id, claimed.token, GONE)
    assert job is not None
    record = Recorder(job.folder)
    record("attempt", number=job.attempts)
    if saved:
        record("checkpoint", step=saved)
    return job


def test_a_run_restarts_as_often_as_the_queue_allows_without_progress(store: Store):
    store.set_retries(2)
    counts = []
    for saved in (0, 0, 10, 0, 0):
        found = find_restart(store, job := dead_run(store, saved))
        counts.append(found and (found.count, found.step))
        settle(store)
    assert counts == [(1, 0), (2, 0), (1, 10), (2, 10), None]
    assert store.job(job.id).phase == "ended" and store.line() == []


@pytest.mark.parametrize("how", ["save", "pause", "cancel"])
def test_a_run_that_was_asked_to_end_waits_for_a_person(how, store: Store):
    job = dead_run(store, saved=10)
    assert find_restart(store, job) is not None
    Run(job.folder).ask_to_stop(how)
    assert find_restart(store, job) is None, "by the file in its folder"
    Run(job.folder).clear_stop()
    assert store.request(job, how) and find_restart(store, store.job(job.id)) is None, "by its row"
    settle(store)
    assert store.job(job.id).phase == "ended"


def test_a_run_that_lost_one_of_its_processes_restarts(store: Store):
    job = dead_run(store, saved=10)
    Recorder(job.folder)("error", message="process 2 of 2 of this run has ended", code="lost_process")
    found = find_restart(store, job)
    assert found is not None and (found.count, found.step, found.low_memory) == (1, 10, False)


def test_kills_for_memory_are_counted_within_one_boot(store: Store, tmp_path: Path):
    job = dead_run(store)
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 3\n", encoding="ascii")
    beat = Beat(0.0, 0.0, kills={str(counter): 2})
    (job.folder / HEARTBEAT).write_text(json.dumps(asdict(beat)), encoding="utf-8")
    before_boot = replace(job, process=replace(job.process, boot="of yesterday"))
    assert [bool(find_restart(store, each).low_memory) for each in (job, before_boot)] == [True, False]


def test_low_memory_keeps_the_images_of_a_step():
    assert low_memory_changes({}) == {"train": {"batch_size": 1, "accumulation": 1, "gradient_checkpointing": True}}
    changed = low_memory_changes({"train": {"batch_size": 4, "accumulation": 2, "gradient_checkpointing": True}})
    assert changed == {"train": {"batch_size": 1, "accumulation": 8, "gradient_checkpointing": True}}
    assert low_memory_changes(changed) == {}
    shared = low_memory_changes({"train": {"batch_size": 4, "accumulation": 2, "devices": 2}})
    assert shared == {"train": {"batch_size": 2, "accumulation": 4, "gradient_checkpointing": True}}
