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
        seconds = measured.seconds(config, len(draft.pictures))
        if seconds is not None:
            times[name] = seconds
    return times
