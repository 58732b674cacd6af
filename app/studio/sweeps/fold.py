"""The queue with each sweep as one item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.jobs.view import View
from app.studio.runs.disk_use import disk_use
from app.studio.sweeps.sweep_file import Sweep, list_sweeps, reference_of
from app.studio.sweeps.sweeps import Member, members


@dataclass(frozen=True)
class Folded:
    """A sweep that stands for its runs."""

    sweep: Sweep
    members: tuple[Member, ...]


def size_of(item: View | Folded) -> int:
    """Bytes on disk of a run, or of a sweep's runs."""
    views = [member.view for member in item.members] if isinstance(item, Folded) else [item]
    return sum(disk_use(view.job.folder) for view in views if view is not None)


def fold(runs: Path, views: Sequence[View], every: Sequence[View] | None = None) -> list[View | Folded]:
    """The views, with one item for each sweep at the place of its first run.

    `every` are the views of all runs, if `views` are only some of them: an item has all runs of its sweep.
    """
    sweeps = {run.name: sweep for sweep in reversed(list_sweeps(runs)[0]) for run in sweep.runs}
    known = {view.job.folder.name: view for view in (views if every is None else every)}
    items: list[View | Folded] = []
    seen = set[str]()
    for view in views:
        sweep = sweeps.get(view.job.folder.name)
        reference = reference_of(view.job.folder) if sweep is not None else None
        if sweep is None or reference is None or reference.id != sweep.id:
            items.append(view)
        elif sweep.id not in seen:
            seen.add(sweep.id)
            runs_of_sweep = [known[run.name] for run in sweep.runs if run.name in known]
            items.append(Folded(sweep, tuple(members(sweep, runs_of_sweep))))
    return items
