"""The results of a sweep: a row of comparable numbers for each run.

Runs are ranked by the distance in style of their best step: the runs of a sweep have the same images and draw the same
prompts and seeds. The losses rank nothing: the smoothed training loss compares runs of one seed and learning target,
and the held-out loss (`data.held_out`), comparable within one seed, rises when pictures are memorised.
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
from app.jobs.states import ENDED, State
from app.studio.runs.chosen import choice_of, chosen_style
from app.studio.sweeps.axes import SEED, Axis, text_of
from app.studio.sweeps.sweeps import Member
from app.units import percent, readable_size, readable_time
from trainers.messages import Message, joined
from trainers.messages import Message as _
from trainers.score.recorded import base_distance, best_of

MEANINGS = {
    "style": "distance in style at the best step, as a share of the base's; lower is nearer to your images",
    "loss": "smoothed training loss at the last step; compare runs of the same seed",
    "held-out": "loss on images left out of training (--set data.held_out=0.2); rises when pictures are memorised",
    "time": "from the run's start to its end, previews included",
    "file": "the style file",
    "memory": "the most that the run has taken",
}
"""Descriptions of the columns."""

RANKED, UNRANKED = (
    _("Nearest to your style first. Small differences may be chance, so look at the pictures, too."),
    _("No run has a best step, so the runs are in the order of the sweep."),
)
KEEP = _("Keep {run}: {share} nearer to your style than the base, in {time} and {size}.")


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
    best: int | None = None
    """The best step by the run's scores; None without one."""
    style: float = math.nan
    """Distance in style at the best step, as a share of the base's."""
    reason: Message | None = None
    """Why the best step is, or why there is none; None without scores."""

    @property
    def state(self) -> str:
        """The run's state, or `deleted`."""
        return str(self.member.view.state) if self.member.view is not None else "deleted"

    @property
    def is_finished(self) -> bool:
        """Whether it has finished its training, or was stopped after it no longer came nearer to the style."""
        view = self.member.view
        is_early = view is not None and view.state == State.STOPPED and view.summary.early_stop != (0, 0)
        return is_early or self.state == State.FINISHED


def read_result(member: Member, losses: Losses | None = None) -> Result:
    """The results of a run so far; `losses` were read before."""
    if member.view is None:
        return Result(member)
    view = member.view
    if losses is None:
        losses = Losses(view.job.folder)
        losses.read()
    smoothed, held_out = losses.curve().smoothed, losses.numbers().held_out
    style, scores = chosen_style(view.job.folder, choice_of(view)), view.summary.scores
    best = best_of(scores)
    score = best.score if best is not None else None
    return Result(
        member,
        smoothed[-1] if smoothed else math.nan,
        held_out[max(held_out)] if held_out else math.nan,
        view.summary.seconds,
        style.stat().st_size if style is not None else 0,
        view.summary.memory,
        score.step if score is not None else None,
        score.distance / base_distance(scores) if score is not None else math.nan,
        best.reason if best is not None else None,
    )


def ranked(results: Sequence[Result]) -> list[Result]:
    """The results, nearest in style first; those without a best step are last, in their order."""
    return sorted(results, key=lambda result: math.inf if math.isnan(result.style) else result.style)


def order_of(results: Sequence[Result]) -> Message:
    """What `ranked` results are sorted by, as a sentence."""
    return RANKED if any(result.best is not None for result in results) else UNRANKED


def advice(results: Sequence[Result]) -> Message | None:
    """Which run to keep and why, or why none; None unless all have ended and one has scores and a style."""
    views = [result.member.view for result in results]
    best = ranked(results)[0] if results else None
    if best is None or any(view is not None and view.state not in ENDED for view in views):
        return None
    if best.best is None:
        reasons = [joined(": ", (result.member.name, result.reason)) for result in results if result.reason]
        return joined(" ", reasons) if reasons else None
    if not best.file:
        return None
    name, time, size = best.member.name, readable_time(best.seconds), readable_size(best.file)
    return joined(" ", [KEEP.format(run=name, share=percent(1 - best.style), time=time, size=size), best.reason])


@dataclass(frozen=True)
class Mean:
    """The mean numbers of runs that differ only in their seed."""

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
    style: float | None
    """Mean distance in style at the best step; None unless all finished runs have one."""
    style_spread: float | None


def means_over_seeds(axes: Sequence[Axis], results: Sequence[Result]) -> list[Mean]:
    """Means of runs that differ only in their seed, nearest in style first; empty without another axis."""
    place = next((place for place, axis in enumerate(axes) if SEED in axis.keys), None)
    if place is None or len(axes) < 2 or len(axes[place].values) < 2:
        return []
    groups: dict[str, list[Result]] = {}
    for result in results:
        values = result.member.values
        groups.setdefault(repr(values[:place] + values[place + 1 :]), []).append(result)
    means = [_mean(group, place) for group in groups.values()]
    return sorted(means, key=lambda mean: math.inf if mean.style is None else mean.style)


def as_record(axes: Sequence[Axis], result: Result) -> dict[str, Any]:
    """A result as plain data; None for unknown numbers."""
    view = result.member.view
    return {
        "run": result.member.name,
        **{axis.title: value for axis, value in zip(axes, result.member.values, strict=True)},
        "state": result.state,
        "step": view.summary.step if view is not None else None,
        "steps": view.summary.steps if view is not None else None,
        "best_step": result.best,
        "style": _known(result.style),
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
    styles = [result.style for result in finished if result.best is not None]
    styles = styles if len(styles) == len(finished) else []
    values = group[0].member.values
    return Mean(
        values[:place] + values[place + 1 :],
        len(finished),
        len(group),
        _known(fmean(losses)) if losses else None,
        _known(max(losses) - min(losses)) if losses else None,
        _known(fmean(held_out)) if held_out else None,
        _known(fmean(styles)) if styles else None,
        _known(max(styles) - min(styles)) if styles else None,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _cell(value: Any) -> Any:
    return text_of(value) if isinstance(value, list | tuple) else value
