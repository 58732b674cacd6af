"""How long runs take, all from one measurement."""

from __future__ import annotations

from collections.abc import Mapping

from app.studio.dataset.drafts import Draft
from app.studio.runs.costs import Measured
from app.studio.settings.plan import plan
from trainers.errors import VelaturaError


def run_times(measured: Measured, drafts: Mapping[str, Draft]) -> dict[str, float]:
    """The seconds of some drafts by name, without those that are invalid or whose base was never measured."""
    times: dict[str, float] = {}
    for name, draft in drafts.items():
        try:
            config = plan(draft, name="style")
        except VelaturaError:
            continue
        if cost := measured.cost(config, len(draft.pictures)):
            times[name] = cost.seconds
        elif (last := measured.last(config)) and last.pace:
            times[name] = last.pace.seconds(config)
    return times
