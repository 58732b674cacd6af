"""A run's numbers over its steps as compact JSON; a page receives only those that it lacks."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from app.jobs.events.losses import Numbers
from app.jobs.view import View
from app.language import translated
from app.studio.studio_queue import StudioQueue
from app.ui.components.live_parts import DeferredPart
from app.ui.components.runs.run_view import axis_end
from app.ui.runs import text as words
from trainers.config.presets import STARTER
from trainers.config.sections import Sample
from trainers.models.files.source import base_name
from trainers.runs.run import Run
from trainers.score.best import is_alike
from trainers.score.recorded import base_distance, best_of

MOST_POINTS = 1000
MOST_RUNS = 50
"""Maximum number of runs offered for an overlay."""
DIGITS = 5
MOST_STEPS = 1_000_000


def graph_words() -> dict[str, str]:
    """The texts of its script."""
    return {
        "step": words.AT_THE_STEP,
        "loss": words.LOSS,
        "raw": words.LOSS_OF_STEP,
        "held": words.HELD_OUT,
        "rate": words.RATE,
        "norm": words.NORM,
        "memory": words.MEMORY_USED,
        "megabytes": words.MEGABYTES,
        "choose": words.NO_RUN,
        "missing": words.NO_NUMBER,
        "distance": words.DISTANCE,
        "change": words.CHANGE_OF_PICTURES,
        "share": words.SHARE_OF_BASE,
        "base": words.BASE_ALONE,
        "bestStep": words.BEST_STEP,
        "alikeStep": words.ALIKE_STEP,
    }


def read_graph(view: View, numbers: Numbers, known: str) -> tuple[DeferredPart, str]:
    """The points of a run that a page with the version `known` lacks, and its new version."""
    steps, scores = axis_end(view), view.summary.scores
    size = bucket_size(numbers.steps)
    key, last = f"{numbers.revision}.{size}", numbers.steps[-1] if numbers.steps else 0
    had, _, at = known.partition(":")
    # The page's last bucket may have been incomplete, so it is sent again.
    start = int(at) // size * size if had == key and at.isdecimal() and int(at) <= last else 0
    state = (key, last, steps, len(numbers.held_out), scores)

    def make() -> str:
        return json.dumps(points(numbers, steps, start, key) | {"scores": read_scores(view)})

    return DeferredPart(state, make), f"{key}:{last}"


def read_scores(view: View) -> dict[str, Any] | None:
    """The scores of a run's steps and the best step, with why it is; None without scores."""
    scores = view.summary.scores
    best = best_of(scores)
    if best is None:
        return None
    unit = base_distance(scores) / 100
    rows = [
        [s.step, round(s.distance / unit, 1), round(s.change, 3), round(s.error / unit, 1), is_alike(scores[0], s)]
        for s in scores
    ]
    return {
        "rows": rows,
        "best": best.score.step if best.score is not None else None,
        "reason": translated(best.reason),
        "elsewhere": dict(view.summary.facts).get("base") != base_name(STARTER),
    }


def points(numbers: Numbers, steps: int, start: int = 0, key: str = "") -> dict[str, Any]:
    """Mean, minimum and maximum loss of each bucket of steps from `start`, and the last other numbers in it.

    A bucket with a loss that is not finite has none, which leaves a gap in the line.
    """
    size, first = bucket_size(numbers.steps), bisect_left(numbers.steps, start)
    places = _buckets(numbers.steps, first, size)
    losses = [numbers.losses[a:b] for a, b in places]
    columns: dict[str, Any] = {
        "key": key,
        "from": start,
        "steps": max(steps, numbers.steps[-1] if numbers.steps else 0),
        "x": [numbers.steps[b - 1] for _, b in places],
        "loss": [_short(sum(bucket) / len(bucket)) for bucket in losses],
        "rate": [_short(numbers.rates[b - 1]) for _, b in places],
        "held": [[step, _short(loss)] for step, loss in sorted(numbers.held_out.items())],
    }
    if size > 1:
        columns["low"], columns["high"] = ([_short(pick(bucket)) for bucket in losses] for pick in (min, max))
    for name, row in (("norm", numbers.norms), ("memory", numbers.memory)):
        if not all(map(math.isnan, row)):
            columns[name] = [_short(row[b - 1]) for _, b in places]
    return columns


def answer(queue: StudioQueue, name: str, run: str) -> dict[str, Any]:
    """The whole curve of a run for the page of run `name`; without a run, the names of runs with a curve.

    Both names are untrusted; a missing run has no points.
    """
    if not run:
        trained = (view for view in queue.runs() if view.summary.step and view.job.name != name)
        return {"runs": [view.job.name for view, _ in zip(trained, range(MOST_RUNS), strict=False)]}
    view = queue.run(run)
    if view is None:
        return {"run": run, "points": None}
    return {"run": run, "points": points(queue.losses(view.job.folder).numbers(), view.summary.steps)}


def bucket_size(steps: Sequence[int]) -> int:
    """The smallest power of two for the steps per bucket with at most `MOST_POINTS` buckets, so full buckets stay as
    they are."""
    span, size = (steps[-1] - steps[0] + 1 if steps else 1), 1
    while span / size > MOST_POINTS - 1:
        size *= 2
    return size


def planned_total(run: Run) -> int:
    """The number of steps in a run's config; 0 if it cannot be read."""
    train = run.table().get("train")
    steps = train.get("steps") if isinstance(train, dict) else 0
    return steps if isinstance(steps, int) and not isinstance(steps, bool) and 0 < steps <= MOST_STEPS else 0


def planned_steps(run: Run, steps: int) -> list[int]:
    """The steps at which a run of `steps` draws samples by its config; the first and the last if it cannot be read."""
    sample = run.table().get("sample")
    every = sample.get("every") if isinstance(sample, dict) else 0
    try:
        gap = Sample.model_validate({"every": every}).interval(steps)
    except ValueError:
        gap = 0
    between = range(gap, steps, gap) if gap > 0 and steps // gap < MOST_POINTS else ()
    return sorted({0, *between, steps})


def _buckets(steps: Sequence[int], first: int, size: int) -> list[tuple[int, int]]:
    """First and last index of each bucket's steps."""
    bounds, start = [], first
    for place in range(first + 1, len(steps) + 1):
        if place == len(steps) or steps[place] // size != steps[start] // size:
            bounds.append((start, place))
            start = place
    return bounds


def _short(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.{DIGITS}g}")
