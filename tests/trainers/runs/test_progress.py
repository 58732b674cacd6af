"""Which steps count, when there are too many without a finite loss, and where the run then goes back to."""

from __future__ import annotations

import pytest

from trainers.runs.progress import Progress


def after(steps: str) -> Progress:
    """The progress after steps that were made (.), skipped (x) or left out by the gradient scaler (s)."""
    progress = Progress()
    for step in steps:
        progress.count_step(0.5, step == ".", overflow=step == "s")
    return progress


@pytest.mark.parametrize(
    ("steps", "trouble"),
    [
        ("xxxx.", ""),
        ("." * 9 + "xxxxx", "for 5 steps in a row"),
        ("xsxsxxsx", "for 5 steps in a row"),  # what the scaler leaves out does not end the row
        ("xxxx.xx", "in 6 of the last 7 steps"),
        ("....x" * 5 + ".." * 9 + "x", "in 6 of the last 44 steps"),
        ("....x" * 5 + "." * 50 + "x", ""),
        ("s" * 19 + "." + "s" * 19, ""),
        ("s" * 20, "for 20 steps in a row"),
    ],
)
def test_what_is_too_much(steps, trouble):
    found = after(steps).trouble
    assert (found is None) == (not trouble) and trouble in (found or "")


def test_what_is_counted():
    progress = after(".xxs.s")
    assert (progress.step, progress.skipped, progress.seconds) == (6, 2, 3.0)
    assert not progress.is_settled and after("xs.").is_settled
    assert list(progress.latest_draws(2)) == [4, 5]  # of the third step


@pytest.mark.parametrize(
    ("steps", "saved", "back"),
    [
        ("." * 23 + "xxxxx", [10, 20], 20),
        ("." * 23 + "xxxxx", [20, 22], 20),  # 22: it was paused there
        ("." * 23 + "xxxxx", [21, 22], 22),
        ("." * 17 + "x.." * 3 + "xxx", [10, 20], 10),  # 20 is within the trouble
        ("." * 7 + "x.." * 5 + "x", [10, 20], 10),
        ("x" * 5, [], 0),
        ("." * 5 + "s" * 20, [4, 20], 4),
    ],
)
def test_the_last_good_checkpoint(steps, saved, back):
    every = 4 if 4 in saved else 10
    assert after(steps).last_good(saved, every) == back
