"""Slow stretches of steps are noticed with their cause, and their end, too."""

from __future__ import annotations

from dataclasses import replace

from trainers.process.conditions import Conditions
from trainers.training.step.pace import STEPS, USUAL, Pace

CALM = Conditions(free=8 * 10**9, total=16 * 10**9)
SIZE = 4 * 64 * 64


def pace_of(*readings: Conditions) -> Pace:
    listed = iter(readings)
    return Pace(lambda: next(listed))


def stretch(pace: Pace, seconds: float, size: int = SIZE) -> list[str | None]:
    """The warnings of `STEPS` steps of equal length, of which the last one ends a stretch."""
    return [pace.note_step(seconds, size) for _ in range(STEPS)]


def test_a_slow_stretch_is_reported_once_with_its_cause_and_its_end():
    low = replace(CALM, free=10**8)
    pace = pace_of(CALM, CALM, low, low, CALM)
    assert stretch(pace, 2.0) == [None] * STEPS
    warnings = stretch(pace, 4.0)
    assert warnings[:-1] == [None] * (STEPS - 1)
    assert warnings[-1] == (
        "Steps take 2.0 times as long as before: only 0.1 GB of memory are free; close other programs."
    )
    assert stretch(pace, 4.0) == [None] * STEPS and pace.is_slow
    assert stretch(pace, 2.2) == [None] * (STEPS - 1) + [USUAL] and not pace.is_slow


def test_single_slow_steps_and_faster_ones_are_not_reported():
    pace = pace_of(*[CALM] * 9)
    for seconds in (3.0, 2.0, 2.9, 1.9):
        assert set(stretch(pace, seconds)) == {None}
    assert [pace.note_step(seconds, SIZE) for seconds in (20.0, *[2.0] * (STEPS - 1))] == [None] * STEPS
    assert stretch(pace, 2.9)[-1], "the fastest stretch is the measure"


def test_short_steps_are_gathered_for_a_while():
    pace = pace_of(CALM, CALM, CALM)
    assert {pace.note_step(0.125, SIZE) for _ in range(120)} == {None}
    assert [pace.note_step(0.5, SIZE) for _ in range(29)] == [None] * 29 and pace.note_step(0.5, SIZE)


def test_larger_pictures_take_longer_without_a_report():
    pace = pace_of(*[CALM] * 5)
    for seconds, size in ((2.0, SIZE), (8.0, 4 * SIZE), (2.1, SIZE)):
        assert set(stretch(pace, seconds, size)) == {None}
    assert stretch(pace, 16.0, 4 * SIZE)[-1] and pace.is_slow
