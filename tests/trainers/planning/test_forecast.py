"""The time that is left, and how many pictures fit into their share of it."""

from __future__ import annotations

import pytest

from trainers.planning.forecast import Forecast
from trainers.sampling.plan import AIM, SHARE, PreviewPlan
from trainers.sampling.sample import SamplingParams

FOUR = SamplingParams(("a", "b", "c", "d"))


def measured(step: float, picture: float, steps: int = 60, limited: bool = True, every: int = 10) -> Forecast:
    found = Forecast(PreviewPlan(FOUR, every, steps, limited), loading=2.0)
    for _ in range(3):
        found.note_step(step)
    found.note_picture(picture)
    found.spent = 4 * picture
    found.note_file(0.5)
    return found


def run(forecast: Forecast, picture: float) -> list[int]:
    """How many pictures a run draws at each sampled step, where one takes so many seconds."""
    counts = []
    for step in range(10, forecast.plan.steps, 10):
        forecast.trained = step * forecast.step
        counts.append(forecast.count_at(step))
        forecast.spent += counts[-1] * picture
    forecast.trained = forecast.plan.steps * forecast.step
    forecast.spent += picture  # with the live adapter
    return counts


@pytest.mark.parametrize("picture", [0.01, 0.1, 0.3, 0.5, 0.8])
def test_previews_stay_within_their_share(picture):
    forecast = measured(1.0, picture)
    counts = run(forecast, picture)
    spent = forecast.spent + forecast.loading + 4 * picture
    whole = forecast.loading + 60 * 1.0 + 0.5 + spent
    least = (4 + 2 * 4 + 4 + 1) * picture  # before, at the thirds, the last ones and one to compare them with
    assert spent <= max(SHARE * whole, forecast.loading + least) + 1e-9
    assert counts[1] == counts[3] == 4, "the thirds"
    others = counts[::2]
    assert others == sorted(others) or max(others) - min(others) <= 1  # alike at every step


def test_a_busy_moment_does_not_make_room_for_more():
    """Steps that take ten times as long for a while say little of the others."""
    calm, busy = measured(1.0, 0.4, steps=600, every=100), measured(1.0, 0.4, steps=600, every=100)
    for each in (calm, busy):
        each.trained = 200.0
    for _ in range(50):
        calm.note_step(1.0)
        busy.note_step(10.0)
    calm.trained, busy.trained = 250.0, 700.0
    more = 450 + 350 * 1.8  # what it took, and the mean pace of the whole for what is left
    assert busy.room(250) - calm.room(250) == pytest.approx(AIM / (1 - AIM) * more)


def test_fast_pictures_are_all_drawn_and_slow_ones_only_at_the_thirds():
    assert run(measured(1.0, 0.01), 0.01) == [4] * 5
    assert run(measured(1.0, 10.0), 10.0) == [0, 4, 0, 4, 0]
    assert 8 < sum(run(measured(1.0, 0.38), 0.38)) < 20


def test_without_a_limit_every_picture_is_drawn():
    assert run(measured(1.0, 10.0, limited=False), 10.0) == [4] * 5


def test_the_time_left_counts_steps_pictures_files_and_the_base():
    forecast = measured(1.0, 0.25, limited=False)
    assert forecast.seconds_left(0) == 60 + 5 * 4 * 0.25 + 8 * 0.25 + 2.0 + 7 * 0.5
    assert forecast.seconds_left(55) == 5 + 8 * 0.25 + 2.0 + 2 * 0.5
    forecast.drawing = 1.5
    assert forecast.seconds_left(50) == 10 + 1.5 * 0.25 + 8 * 0.25 + 2.0 + 2 * 0.5
    forecast.ending = True
    assert forecast.seconds_left(60) == 1.5 * 0.25


def test_the_time_left_counts_the_thirds_however_slow_they_are():
    forecast = measured(1.0, 10.0)
    assert forecast.seconds_left(0) == 60 + 2 * 4 * 10.0 + 5 * 10.0 + 2.0 + 7 * 0.5
    assert forecast.seconds_left(45) == 15 + 5 * 10.0 + 2.0 + 3 * 0.5


def test_the_time_left_is_unknown_before_the_first_step():
    forecast = Forecast(PreviewPlan(FOUR, 10, 60, True), loading=2.0)
    assert forecast.seconds_left(0) is None
    forecast.note_picture(1.0)
    assert forecast.seconds_left(0) is None
    forecast.note_step(9.0)
    assert forecast.seconds_left(1) is not None
    forecast.note_step(1.0)  # the first one is not like the others
    assert forecast.step == 1.0


def test_a_whole_run_is_counted_as_it_will_be_drawn():
    for picture in (0.01, 0.3, 0.75, 10.0):
        forecast = measured(1.0, picture)
        forecast.spent = 0.0
        expected = forecast.count_all()
        forecast.spent = 4 * picture
        assert expected == 4 + sum(run(forecast, picture)) + 1 + 4
    assert measured(1.0, 1.0, limited=False).count_all() == 4 * (1 + 5 + 2)
