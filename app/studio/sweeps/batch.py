"""Adds several runs to the queue, all or none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.jobs.accounts.audit import note_job
from app.jobs.job import Job, NewJob
from app.jobs.permissions import Actor
from app.jobs.processes.devices import wanted_by
from app.jobs.settings import check_run
from app.jobs.store import TRAIN, Store
from trainers.runs.events import Recorder

if TYPE_CHECKING:
    from trainers.config.config import Config


@dataclass(frozen=True)
class Wanted:
    """A run to add."""

    config: Config
    expected: float | None = None
    """Expected seconds; None if unknown."""
    memory: float = 0.0
    """Required GB of a device of a cluster's node."""


def add_batch(
    store: Store,
    wanted: Sequence[Wanted],
    *,
    actor: Actor,
    owner: str = "",
    priority: int = 0,
    prepared: Callable[[Sequence[Path]], object] = lambda _folders: None,
) -> list[Job]:
    """Prepare runs with shared copies of their images and add them to the queue in this order.

    `prepared` receives their folders before any of them waits. On VelaturaError no run is left, and none has begun.
    """
    from trainers.training.prepare import prepare_alike

    store.check_waiting(actor.name or owner, TRAIN, len(wanted))
    for each in wanted:
        check_run(each.config, actor)
    runs = prepare_alike((each.config for each in wanted), store.runs)
    try:
        for run, each in zip(runs, wanted, strict=True):
            if each.expected is not None:
                Recorder(run.folder)("expected", seconds=round(each.expected, 1))
        prepared([run.folder for run in runs])
        wants = [wanted_by(each.config.train, memory=each.memory) for each in wanted]
        jobs = store.add_all(
            [
                NewJob(TRAIN, run.folder, (), Path.cwd(), actor.name or owner, each, priority)
                for run, each in zip(runs, wants, strict=True)
            ]
        )
    except BaseException:
        for run in runs:
            if store.job_in(run.folder) is None:
                shutil.rmtree(run.folder, ignore_errors=True)
        raise
    for job in jobs:
        note_job(store, "start", actor, job.kind, job.name, job.owner)
    return jobs
