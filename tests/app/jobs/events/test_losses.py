"""The losses of a run, as its events tell them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from app.jobs.events.losses import Losses
from trainers.runs.events import Recorder


def say(folder: Path, *losses: tuple[int, float]) -> None:
    record = Recorder(folder)
    for step, loss in losses:
        record("step", step=step, steps=10, loss=loss, lr=step / 100)


def test_steps_that_are_trained_again_replace_what_they_repeat(tmp_path):
    losses = Losses(tmp_path)
    losses.read()
    assert losses.numbers().steps == []
    say(tmp_path, (1, 0.4), (2, 0.2), (3, 0.3), (4, 0.1))
    losses.read()
    losses.read()
    first = losses.numbers()
    assert (first.steps, first.losses, first.rates[-1]) == ([1, 2, 3, 4], [0.4, 0.2, 0.3, 0.1], 0.04)
    say(tmp_path, (3, 0.9))  # from the checkpoint of step 2
    losses.read()
    again = losses.numbers()
    assert (again.steps, again.losses) == ([1, 2, 3], [0.4, 0.2, 0.9]) and again.revision != first.revision
    Recorder(tmp_path)("anew")
    say(tmp_path, (1, 0.5))
    losses.read()
    assert (losses.numbers().steps, losses.numbers().losses) == ([1], [0.5])


def test_a_step_that_was_left_out_is_no_point(tmp_path):
    Recorder(tmp_path)("skipped", step=1, loss=float("nan"), lr=0.1)
    say(tmp_path, (2, 0.5))
    losses = Losses(tmp_path)
    losses.read()
    assert losses.numbers().steps == [2]


def test_all_that_was_measured_is_kept_and_a_loss_that_is_no_number_is_no_point_of_the_curve(tmp_path):
    record = Recorder(tmp_path)
    record("step", step=1, loss=0.5, lr=0.1, grad_norm=2.0, memory=7)
    record("held_out", step=1, loss=0.6)
    record("step", step=2, loss=float("nan"), lr=0.1, grad_norm=float("inf"))
    record("held_out", step=2, loss=0.7)
    losses = Losses(tmp_path)
    losses.read()
    found = losses.numbers()
    assert [found.losses[0], found.norms[0], found.memory[0]] == [0.5, 2.0, 7.0]
    assert all(map(math.isnan, (found.losses[1], found.norms[1], found.memory[1])))
    assert found.held_out == {1: 0.6, 2: 0.7} and losses.curve().steps == [1]
    say(tmp_path, (2, 0.4))
    losses.read()
    assert losses.numbers().held_out == {1: 0.6}, "what was forgotten is measured again"


def test_the_mean_begins_with_the_first_value_and_follows_slowly(tmp_path):
    say(tmp_path, *((step, 1.0 if step <= 50 else 0.0) for step in range(1, 101)))
    losses = Losses(tmp_path)
    losses.read()
    curve = losses.curve()
    smooth = curve.smoothed
    assert smooth[:50] == pytest.approx([1.0] * 50)
    assert smooth[50] == pytest.approx(1 - 0.05 / (1 - 0.95**51)) and smooth[99] < 0.1


def test_the_table_has_all_numbers_and_empty_cells(tmp_path):
    record = Recorder(tmp_path)
    record("step", step=1, loss=1.0, lr=0.01, grad_norm=2.5, memory=7_000_000)
    record("held_out", step=1, loss=0.6)
    record("step", step=2, loss=float("nan"), lr=0.02, grad_norm=float("inf"))
    record("step", step=3, loss=0.0, lr=0.03)
    losses = Losses(tmp_path)
    losses.read()
    assert losses.numbers().as_csv().splitlines() == [
        "step,loss,smoothed,learning_rate,gradient_norm,memory_bytes,held_out_loss",
        "1,1,1,0.01,2.5,7000000,0.6",
        "2,,,0.02,,,",
        "3,0,0.487179487179,0.03,,,",
    ]
