"""The losses of a run, as its events tell them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs.losses import Losses
from trainers.runs.events import Recorder


def say(folder: Path, *losses: tuple[int, float]) -> None:
    record = Recorder(folder)
    for step, loss in losses:
        record("step", step=step, steps=10, loss=loss, lr=step / 100)


def test_steps_that_are_trained_again_replace_what_they_repeat(tmp_path):
    losses = Losses(tmp_path)
    losses.read()
    assert losses.steps == []
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
    curve = losses.curve()
    smooth = curve.smoothed
    assert smooth[:50] == pytest.approx([1.0] * 50)
    assert smooth[50] == pytest.approx(1 - 0.05 / (1 - 0.95**51)) and smooth[99] < 0.1
    rows = curve.as_csv().splitlines()
    assert rows[0] == "step,loss,smoothed,learning_rate" and rows[1] == "1,1,1,0.01" and len(rows) == 101
