"""How long runs take, all from one measurement."""

from __future__ import annotations

from collections.abc import Mapping

from app.studio.dataset.drafts import Draft
from app.studio.runs.costs import Measured, RunTime
from app.studio.settings.plan import plan
from trainers.errors import VelaturaError


def run_times(measured: Measured, drafts: Mapping[str, Draft]) -> dict[str, RunTime]:
    """The times of some drafts by name, without those that are invalid or whose base was never measured."""
    times: dict[str, RunTime] = {}
    for name, draft in drafts.items():
        try:
            config = plan(draft, name="style")
        except VelaturaError:
            continue
        time = measured.time(config, len(draft.pictures))
        if time is not None:
            times[name] = time
    return times
