"""The loss as it is shown: smoothed, and true to what was trained anew."""

from __future__ import annotations

import math
from pathlib import Path

from app.jobs.losses import Losses
from app.ui.runs.curve import MOST_POINTS, draw_losses, thinned
from trainers.runs.events import Recorder


def test_nothing_is_drawn_before_there_are_two_steps(tmp_path):
    losses = Losses(tmp_path)
    assert draw_losses(losses.curve(), 10) is None
    say(tmp_path, (1, 0.4))
    losses.read()
    assert draw_losses(losses.curve(), 10) is None


def drawn(losses: Losses, steps: int) -> list[tuple[str, list[tuple[float, ...]]]]:
    """Every line of loss and learning rate, with its points."""
    curve = draw_losses(losses.curve(), steps)
    assert curve is not None
    lines = (*curve.loss.lines, *curve.rate.lines)
    return [(line.kind, [tuple(map(float, point.split(","))) for point in line.points.split()]) for line in lines]


def say(folder: Path, *losses: tuple[int, float]) -> None:
    record = Recorder(folder)
    for step, loss in losses:
        record("step", step=step, steps=10, loss=loss, lr=step / 100)


def test_a_long_run_is_drawn_with_few_points_from_edge_to_edge(tmp_path):
    assert thinned([1, 2, 3], [5.0, 6.0, 7.0]) == [(1.0, 5.0), (2.0, 6.0), (3.0, 7.0)]
    say(tmp_path, *((step, math.exp(-step / 300)) for step in range(1, 1001)))
    losses = Losses(tmp_path)
    losses.read()
    lines = [points for _, points in drawn(losses, 1000)]
    assert len(lines) == 3 and all(2 <= len(points) <= MOST_POINTS for points in lines)
    assert all(
        points[-1][0] == 1000 and 0 <= min(y for _, y in points) <= max(y for _, y in points) <= 200 for points in lines
    )
    raw = lines[0]
    assert [y for _, y in raw] == sorted(y for _, y in raw)  # a falling loss goes down the page
    wide = [points for _, points in drawn(losses, 2000)]
    assert len(wide) == 3 and min(x for points in wide for x, _ in points) == 2


def test_a_loss_that_does_not_change_is_a_line_in_the_middle(tmp_path):
    say(tmp_path, (1, 0.5), (2, 0.5))
    losses = Losses(tmp_path)
    losses.read()
    (kind, raw), *_ = drawn(losses, 2)
    assert kind == "raw" and [y for _, y in raw] == [100, 100]
