"""Sweeps whose runs have ended: written, not trained."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from app.studio.sweeps.axes import Axis, name_part
from app.studio.sweeps.batch import Wanted
from app.studio.sweeps.plan import PlannedRun, SweepPlan
from app.studio.sweeps.sweep_file import Sweep, new_sweep, write_sweep
from tests.app.ui.ended_runs import PROMPTS, write_run
from trainers.config.tables import overlay


def write_ended_sweep(runs: Path, name: str, *axes: Axis, prompts: tuple[str, ...] = PROMPTS, owner: str = "") -> Sweep:
    """A sweep of finished runs, each with other pictures."""
    planned = []
    for number, values in enumerate(itertools.product(*(axis.values for axis in axes))):
        own = "-".join([name, *map(name_part, axes, values)])
        settings: dict[str, Any] = {"train": {"steps": 20}}
        for axis, value in zip(axes, values, strict=True):
            for key in axis.keys:
                section, _, last = key.rpartition(".")
                settings = overlay(settings, {section: {last: value}} if section else {last: value})
        write_run(runs, own, settings, prompts, first=number)
        planned.append(PlannedRun(own, values, Wanted(None)))  # type: ignore[arg-type]
    sweep = new_sweep(SweepPlan(name, axes, tuple(planned)), owner)
    write_sweep(runs, sweep, [runs / run.name for run in planned])
    return sweep
