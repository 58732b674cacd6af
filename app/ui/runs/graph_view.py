"""The numbers of a run over its steps as compact JSON, of which a page gets only what it does not have yet."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from app.jobs.events.losses import Numbers
from app.studio.studio_queue import StudioQueue
from app.ui.components.live_parts import DeferredPart
from app.ui.runs import text as words
from trainers.config.sections import Sample
from trainers.runs.run import Run

MOST_POINTS = 1000
MOST_RUNS = 50
"""Runs that are offered to be laid over one."""
DIGITS = 5
MOST_STEPS = 1_000_000


def graph_words() -> dict[str, str]:
    """What its script says."""
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
    }


def read_graph(numbers: Numbers, steps: int, known: str) -> tuple[DeferredPart, str]:
    """The points that a page lacks, and what it knows once it has them; `known` is what it says that it knows."""
    size = bucket_size(numbers.steps)
    key, last = f"{numbers.revision}.{size}", numbers.steps[-1] if numbers.steps else 0
    had, _, at = known.partition(":")
    # The page's last bucket may have been incomplete, so it is sent again.
    start = int(at) // size * size if had == key and at.isdecimal() and int(at) <= last else 0
    state = (key, last, steps, len(numbers.held_out))
    return DeferredPart(state, lambda: json.dumps(points(numbers, steps, start, key))), f"{key}:{last}"


def points(numbers: Numbers, steps: int, start: int = 0, key: str = "") -> dict[str, Any]:
    """Mean, lowest and highest loss of each bucket of steps from `start`, and the last other numbers in it.

    A bucket with a loss that is not finite has none: the line has a gap there.
    """
    size, first = bucket_size(numbers.steps), bisect_left(numbers.steps, start)
    places = _buckets(numbers.steps, first, size)
    losses = [numbers.losses[a:b] for a, b in places]
    found: dict[str, Any] = {
        "key": key,
        "from": start,
        "steps": max(steps, numbers.steps[-1] if numbers.steps else 0),
        "x": [numbers.steps[b - 1] for _, b in places],
        "loss": [_short(sum(each) / len(each)) for each in losses],
        "rate": [_short(numbers.rates[b - 1]) for _, b in places],
        "held": [[step, _short(loss)] for step, loss in sorted(numbers.held_out.items())],
    }
    if size > 1:
        found["low"], found["high"] = ([_short(pick(each)) for each in losses] for pick in (min, max))
    for name, row in (("norm", numbers.norms), ("memory", numbers.memory)):
        if not all(map(math.isnan, row)):
            found[name] = [_short(row[b - 1]) for _, b in places]
    return found


def answer(queue: StudioQueue, name: str, run: str) -> dict[str, Any]:
    """The whole curve of a run for a page about run `name`; without a run, the names of those that can be laid over.

    Both names come from outside; a run that there is not has no points.
    """
    if not run:
        trained = (view for view in queue.runs() if view.summary.step and view.job.name != name)
        return {"runs": [view.job.name for view, _ in zip(trained, range(MOST_RUNS), strict=False)]}
    view = queue.run(run)
    if view is None:
        return {"run": run, "points": None}
    return {"run": run, "points": points(queue.losses(view.job.folder).numbers(), view.summary.steps)}


def bucket_size(steps: Sequence[int]) -> int:
    """The smallest power of two of steps a bucket with at most `MOST_POINTS` buckets: those that are full stay so."""
    span, size = (steps[-1] - steps[0] + 1 if steps else 1), 1
    while span / size > MOST_POINTS - 1:
        size *= 2
    return size


def planned_total(run: Run) -> int:
    """The steps that a run is to take, as its settings say; 0 if they cannot be read."""
    train = run.table().get("train")
    steps = train.get("steps") if isinstance(train, dict) else 0
    return steps if isinstance(steps, int) and not isinstance(steps, bool) and 0 < steps <= MOST_STEPS else 0


def planned_steps(run: Run, steps: int) -> list[int]:
    """The steps at which a run of so many is drawn, as its settings say; the first and the last if they say nothing."""
    sample = run.table().get("sample")
    every = sample.get("every") if isinstance(sample, dict) else 0
    try:
        gap = Sample.model_validate({"every": every}).interval(steps)
    except ValueError:
        gap = 0
    between = range(gap, steps, gap) if gap > 0 and steps // gap < MOST_POINTS else ()
    return sorted({0, *between, steps})


def _buckets(steps: Sequence[int], first: int, size: int) -> list[tuple[int, int]]:
    """The bounds of each bucket's steps."""
    found, start = [], first
    for place in range(first + 1, len(steps) + 1):
        if place == len(steps) or steps[place] // size != steps[start] // size:
            found.append((start, place))
            start = place
    return found


def _short(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.{DIGITS}g}")
