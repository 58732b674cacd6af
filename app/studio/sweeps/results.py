"""The results of a sweep: a row of comparable numbers for each run.

The loss is the smoothed training loss of the last step. Runs with the same seed, batch size and images see the same
noise at the same steps, so it compares methods and ranks; it does not compare seeds or learning targets. The held-out
loss, of images that no step has seen (`data.held_out`), is better, but compares only within one seed, which chooses
these images.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from app.jobs.events.losses import Losses
from app.jobs.states import State
from app.studio.runs.chosen import choice_of, chosen_style
from app.studio.sweeps.axes import SEED, Axis, text_of
from app.studio.sweeps.sweeps import Member

MEANINGS = {
    "loss": "smoothed training loss at the last step; compare runs of the same seed",
    "held-out": "loss on images left out of training (--set data.held_out=0.2); the better judge",
    "time": "from the run's start to its end, previews included",
    "file": "the style file",
    "memory": "the most that the run has taken",
}
"""Descriptions of the columns."""


@dataclass(frozen=True)
class Result:
    """The results of a run so far; NaN and 0 if unknown."""

    member: Member
    loss: float = math.nan
    held_out: float = math.nan
    seconds: float = 0.0
    file: int = 0
    """Bytes."""
    memory: int = 0
    """Bytes."""

    @property
    def state(self) -> str:
        """The run's state, or `deleted`."""
        return str(self.member.view.state) if self.member.view is not None else "deleted"

    @property
    def is_finished(self) -> bool:
        """Whether it has finished its training."""
        return self.member.view is not None and self.member.view.state == State.FINISHED


def read_result(member: Member, losses: Losses | None = None) -> Result:
    """The results of a run so far; `losses` were read before."""
    if member.view is None:
        return Result(member)
    view = member.view
    if losses is None:
        losses = Losses(view.job.folder)
        losses.read()
    smoothed, held_out = losses.curve().smoothed, losses.numbers().held_out
    style = chosen_style(view.job.folder, choice_of(view))
    return Result(
        member,
        smoothed[-1] if smoothed else math.nan,
        held_out[max(held_out)] if held_out else math.nan,
        view.summary.seconds,
        style.stat().st_size if style is not None else 0,
        view.summary.memory,
    )


def ranked(results: Sequence[Result]) -> list[Result]:
    """The results, finished runs first, by held-out loss if all of these have one, or else by loss."""
    by_held_out = has_held_out(results)

    def turn(result: Result) -> tuple[bool, float]:
        loss = result.held_out if by_held_out else result.loss
        return not result.is_finished, math.inf if math.isnan(loss) else loss

    return sorted(results, key=turn)


def has_held_out(results: Sequence[Result]) -> bool:
    """Whether all finished runs have a held-out loss."""
    finished = [result for result in results if result.is_finished]
    return bool(finished) and not any(math.isnan(result.held_out) for result in finished)


@dataclass(frozen=True)
class Mean:
    """The mean losses of runs that differ only in their seed."""

    values: tuple[Any, ...]
    """One value of each axis except the seed."""
    finished: int
    of: int
    loss: float | None
    """Mean over the finished runs; None without one."""
    spread: float | None
    """The largest of these losses minus the smallest; smaller differences of means may be chance."""
    held_out_loss: float | None
    """None unless all finished runs have one."""


def means_over_seeds(axes: Sequence[Axis], results: Sequence[Result]) -> list[Mean]:
    """Means of runs that differ only in their seed, lowest first; empty without another axis."""
    place = next((place for place, axis in enumerate(axes) if SEED in axis.keys), None)
    if place is None or len(axes) < 2 or len(axes[place].values) < 2:
        return []
    groups: dict[str, list[Result]] = {}
    for result in results:
        values = result.member.values
        groups.setdefault(repr(values[:place] + values[place + 1 :]), []).append(result)
    means = [_mean(group, place) for group in groups.values()]

    def turn(mean: Mean) -> tuple[bool, float]:
        loss = mean.held_out_loss if mean.held_out_loss is not None else mean.loss
        return mean.finished < mean.of, math.inf if loss is None else loss

    return sorted(means, key=turn)


def as_record(axes: Sequence[Axis], result: Result) -> dict[str, Any]:
    """A result as plain data; None for unknown numbers."""
    view = result.member.view
    return {
        "run": result.member.name,
        **{axis.title: value for axis, value in zip(axes, result.member.values, strict=True)},
        "state": result.state,
        "step": view.summary.step if view is not None else None,
        "steps": view.summary.steps if view is not None else None,
        "loss": _known(result.loss),
        "held_out_loss": _known(result.held_out),
        "seconds": round(result.seconds, 1) if result.seconds else None,
        "file_bytes": result.file or None,
        "memory_bytes": result.memory or None,
    }


def as_csv(axes: Sequence[Axis], results: Sequence[Result]) -> str:
    """CSV with a row for each result; unknown numbers are empty cells."""
    rows = [as_record(axes, result) for result in results]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(list(rows[0]) if rows else ["run"])
    for row in rows:
        writer.writerow(["" if value is None else _cell(value) for value in row.values()])
    return out.getvalue()


def _mean(group: Sequence[Result], place: int) -> Mean:
    finished = [result for result in group if result.is_finished and not math.isnan(result.loss)]
    losses, held_out = [result.loss for result in finished], [result.held_out for result in finished]
    values = group[0].member.values
    return Mean(
        values[:place] + values[place + 1 :],
        len(finished),
        len(group),
        _known(fmean(losses)) if losses else None,
        _known(max(losses) - min(losses)) if losses else None,
        _known(fmean(held_out)) if held_out else None,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _cell(value: Any) -> Any:
    return text_of(value) if isinstance(value, list | tuple) else value
