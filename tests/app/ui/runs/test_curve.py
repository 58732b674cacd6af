"""The loss as it is shown: smoothed, and true to what was trained anew."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from app.jobs.losses import Losses

from app.ui.runs.curve import MOST_POINTS, thinned
from trainers.runs.events import Recorder


def say(folder: Path, *losses: tuple[int, float]) -> None:
    record = Recorder(folder)
    for step, loss in losses:
        record("step", step=step, steps=10, loss=loss, lr=step / 100)


def test_steps_that_are_trained_again_replace_what_they_repeat(tmp_path):
    losses = Losses(tmp_path)
    losses.read()
    assert losses.steps == [] and losses.drawn(10) == ""
    say(tmp_path, (1, 0.4), (2, 0.2), (3, 0.3), (4, 0.1))
    losses.read()
    losses.read()
    assert (losses.steps, losses.losses, losses.rates[-1]) == ([1, 2, 3, 4], [0.4, 0.2, 0.3, 0.1], 0.04)
    say(tmp_path, (3, 0.9))  # from the checkpoint of step 2
    losses.read()
    assert (losses.steps, losses.losses) == ([1, 2, 3], [0.4, 0.2, 0.9])
    Recorder(tmp_path)("anew")
    say(tmp_path, (1, 0.5))
    losses.read()
    assert (losses.steps, losses.losses) == ([1], [0.5])


def test_a_step_that_was_left_out_is_no_point(tmp_path):
    Recorder(tmp_path)("skipped", step=1, loss=float("nan"), lr=0.1)
    say(tmp_path, (2, 0.5))
    losses = Losses(tmp_path)
    losses.read()
    assert losses.steps == [2]


def test_the_mean_begins_with_the_first_value_and_follows_slowly(tmp_path):
    say(tmp_path, *((step, 1.0 if step <= 50 else 0.0) for step in range(1, 101)))
    losses = Losses(tmp_path)
    losses.read()
    smooth = losses.smoothed()
    assert smooth[:50] == pytest.approx([1.0] * 50)
    assert smooth[50] == pytest.approx(1 - 0.05 / (1 - 0.95**51)) and smooth[99] < 0.1
    rows = losses.as_csv().splitlines()
    assert rows[0] == "step,loss,smoothed,learning_rate" and rows[1] == "1,1,1,0.01" and len(rows) == 101


def test_a_long_run_is_drawn_with_few_points_from_edge_to_edge(tmp_path):
    assert thinned([1, 2, 3], [5.0, 6.0, 7.0]) == [(1.0, 5.0), (2.0, 6.0), (3.0, 7.0)]
    say(tmp_path, *((step, math.exp(-step / 300)) for step in range(1, 1001)))
    losses = Losses(tmp_path)
    losses.read()
    drawn = losses.drawn(1000)
    lines = [
        [tuple(map(float, point.split(","))) for point in points.split()]
        for points in re.findall(r'points="([^"]+)"', drawn)
    ]
    assert len(lines) == 3 and all(2 <= len(points) <= MOST_POINTS for points in lines)
    assert all(
        points[-1][0] == 1000 and 0 <= min(y for _, y in points) <= max(y for _, y in points) <= 200 for points in lines
    )
    raw = lines[0]
    assert [y for _, y in raw] == sorted(y for _, y in raw)  # a falling loss goes down the page
    assert losses.drawn(2000).count("points") == 3 and 'points="2,' in losses.drawn(2000)


def test_a_loss_that_does_not_change_is_a_line_in_the_middle(tmp_path):
    say(tmp_path, (1, 0.5), (2, 0.5))
    losses = Losses(tmp_path)
    losses.read()
    ys = re.findall(r"\d+,(\d+\.\d)", losses.drawn(2).partition("raw")[2].partition("/>")[0])
    assert ys == ["100.0", "100.0"]
