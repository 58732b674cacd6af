"""How long runs take, all from one measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.studio.dataset.drafts import Draft
from app.studio.runs.costs import Measured
from app.studio.settings.plan import plan
from trainers.errors import VelaturaError


@dataclass(frozen=True)
class RunTime:
    """How long a run takes."""

    seconds: float
    scaled: bool
    """Whether it follows from a measurement with other settings."""


def run_times(measured: Measured, drafts: Mapping[str, Draft]) -> dict[str, RunTime]:
    """The times of some drafts by name, without those that are invalid or whose base was never measured."""
    times = {}
    for name, draft in drafts.items():
        try:
            config = plan(draft, name="style")
        except VelaturaError:
            continue
        if cost := measured.cost(config, len(draft.pictures)):
            times[name] = RunTime(cost.seconds, False)
        elif (last := measured.last(config)) and last.pace:
            times[name] = RunTime(last.pace.seconds(config), True)
    return times
