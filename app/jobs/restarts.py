"""Automatic restarts of runs: after a kill, a power cut or a lost machine, but not after an error of their own.

The queue limits how often (`Store.retries`); a checkpoint since the last restart resets the count, so only runs without
progress wait for a person. After an out-of-memory kill a run restarts once, with settings that need less memory. A
person's request comes first: a run that was asked to end never restarts.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.jobs.events.summary import Summary, read_summary
from app.jobs.job import Job
from app.jobs.processes.process import boot_id
from app.jobs.states import is_silent
from app.jobs.store import TRAIN, YIELD, Store
from trainers.errors import LOST_PROCESS, OUT_OF_MEMORY
from trainers.process.oom import has_killed_since
from trainers.runs.events import Recorder
from trainers.runs.run import Run, write_config


@dataclass(frozen=True)
class Restart:
    """An automatic restart of a dead run."""

    count: int
    """Restarts without progress, including this one, but not an out-of-memory restart."""
    step: int
    """The checkpoint to continue from; 0 for the beginning."""
    low_memory: bool
    message: str


def restart(store: Store, job: Job) -> bool:
    """Queue a dead run before the other runs if it restarts automatically; returns whether it does."""
    planned = find_restart(store, job)
    if planned is None or not store.restart(job, planned.count, planned.step, planned.low_memory):
        return False
    run = Run(job.folder)
    if job.requested == YIELD:
        run.clear_stop()
    with suppress(OSError):
        Recorder(job.folder)("restart", step=planned.step, low_memory=planned.low_memory, message=planned.message)
    return True


def find_restart(store: Store, job: Job) -> Restart | None:
    """The automatic restart of a dead run; None if a person has to decide."""
    limit = store.retries()
    is_here = job.kind == TRAIN and job.phase in ("claimed", "running") and job.folder.is_dir()
    if not limit or not is_here or _is_asked_to_end(job):
        return None
    summary = read_summary(job.folder)
    silent = job.phase == "claimed" or is_silent(job, summary)
    if summary.ended and not silent:
        failure = summary.code if summary.ended == "failed" else ""
        lacked_memory = failure == OUT_OF_MEMORY
        if not lacked_memory and failure != LOST_PROCESS:
            return None
    else:
        lacked_memory = _was_killed_for_memory(job)
    where = f"it continues from step {summary.saved}" if summary.saved else "it restarts from zero"
    if lacked_memory:
        return _with_less_memory(job, summary, where)
    count = 1 if summary.saved > job.restart_step else job.restarts + 1
    if count > limit:
        return None
    times = f"restart {count} of {limit}"
    return Restart(count, summary.saved, False, f"The computer or the program stopped; {where} by itself ({times})")


def low_memory_changes(table: Mapping[str, Any]) -> dict[str, Any]:
    """Changes that lower the memory of a run with as many images per step; empty if it has them already.

    `table` is the run's config as stored.
    """
    train = table.get("train", {})
    size, accumulation, devices = (train.get(key, 1) for key in ("batch_size", "accumulation", "devices"))
    if size == devices and train.get("gradient_checkpointing", False):
        return {}
    batches = size // devices * accumulation
    return {"train": {"batch_size": devices, "accumulation": batches, "gradient_checkpointing": True}}


def apply_low_memory(run: Run) -> None:
    """Continue a run with settings that need less memory."""
    from trainers.config.build import as_table, build_config

    config = run.config()
    changes = low_memory_changes(as_table(config))
    if changes:
        write_config(run, build_config(as_table(config), changes))


def _with_less_memory(job: Job, summary: Summary, where: str) -> Restart | None:
    if job.low_memory or not low_memory_changes(Run(job.folder).table()):
        return None
    how = "batches of one image and gradient checkpointing, which use less memory but take longer"
    return Restart(job.restarts, summary.saved, True, f"There was not enough memory; {where} by itself with {how}")


def _is_asked_to_end(job: Job) -> bool:
    """Whether the run was asked to end, through the queue or by the file in its folder."""
    if job.requested == YIELD:
        return False
    return bool(job.requested) or Run(job.folder).asked_to_stop() is not None


def _was_killed_for_memory(job: Job) -> bool:
    """Whether the kernel killed processes for memory since the run's last heartbeat; a boot resets its counters."""
    beat, process = Run(job.folder).beat(), job.process
    if beat is None or beat.pid != process.pid or not process.is_here or process.boot != boot_id():
        return False
    return has_killed_since(beat.kills)
