"""Times of several presets from one measurement, and how busy the computer was."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.jobs.events.summary import Summary
from app.studio.dataset.drafts import Draft
from app.studio.paths import Paths
from app.studio.runs import estimates
from app.studio.runs.estimate_jobs import Estimate
from app.studio.runs.estimates import (
    Cost,
    Measured,
    Pace,
    RunTime,
    circumstances,
    pace_in,
    pace_key,
    pace_of_run,
    work_of,
)
from app.studio.settings.plan import choose, drafts_by_preset, plan, with_choices
from app.ui.train import style_view
from app.ui.train import text as words
from trainers.runs.events import Recorder, read_events

DRAFT = Draft(id="x", public="y")


def cost(load: float = 0.0, at: float = 0.0) -> Cost:
    """A measurement of the balanced preset: half a second a step, and 20 s besides."""
    config = plan(DRAFT)
    pace = Pace(pace_key(config), work_of(config), 0.5, 20.0, at or time.time(), load)
    return Cost(20 + config.train.steps * 0.5, 10**9, 10**6, 10**6, pace=pace)


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    paths = Paths(tmp_path)
    paths.make()
    return Measured(paths)


def test_one_measurement_says_how_long_every_preset_takes(measured: Measured) -> None:
    measured.keep(plan(DRAFT), 0, cost())
    times = measured.times(drafts_by_preset(DRAFT))
    assert times["balanced"] == RunTime(20 + 180 * 0.5, is_estimate=False)
    assert times["quick"] == RunTime(pytest.approx(20 + 40 * 0.5), is_estimate=True)
    extra = plan(choose(DRAFT, "preset", "faithful"))
    ratio = work_of(extra) / work_of(plan(DRAFT))
    assert ratio > 1 and times["faithful"].seconds == pytest.approx(20 + extra.train.steps * 0.5 * ratio)
    assert words.run_time(times["balanced"]) == "about 2 min" and words.run_time(None) == ""
    assert words.run_time(times["quick"]) == "about 40 s (estimate)"
    assert "measured just now" in style_view.pace_line(cost().pace, times, time.time())
    estimates = {name: times[name] for name in ("quick", "faithful")}
    assert style_view.pace_line(cost().pace, estimates, time.time()) == "Times are estimates."
    elsewhere = with_choices(DRAFT, base="owner/name")
    assert measured.times(drafts_by_preset(elsewhere)) == {}, "another base has another pace"


def test_a_measurement_from_a_busy_moment_does_not_outlive_it(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured.keep(plan(DRAFT), 0, cost(load=4.0))
    monkeypatch.setattr(estimates, "load_now", lambda: 3.0)
    assert measured.cost(plan(DRAFT), 0) is not None, "it is as busy still"
    monkeypatch.setattr(estimates, "load_now", lambda: 0.2)
    assert measured.cost(plan(DRAFT), 0) is None
    last = measured.last(plan(DRAFT))
    assert last and last.pace and "kept this computer busy" in words.pace_line(last.pace, last.pace.at + 600)
    assert "10 min ago" in words.pace_line(last.pace, last.pace.at + 600)
    measured.keep(plan(DRAFT), 0, cost(load=0.2))
    monkeypatch.setattr(estimates, "load_now", lambda: 0.0)
    assert measured.cost(plan(DRAFT), 0) is not None


def test_an_event_says_what_others_are_scaled_from(tmp_path: Path) -> None:
    config = plan(DRAFT)
    measured = {"seconds": 170.0, "seconds_a_step": 0.5, "steps": 300, "parameters": 7}
    Recorder(tmp_path)("estimate", **measured, **circumstances(config, "cpu", 2.5))
    (event,) = read_events(tmp_path)
    pace = pace_in(event)
    assert pace and (pace.step, pace.once, pace.load, pace.seconds(config)) == (0.5, 20.0, 2.5, 110.0)
    assert circumstances(config, "cuda:0", 2.5)["load"] == 0.0
    assert pace_in(measured) is None and pace_in(measured | {"on": "x", "work": "much"}) is None


def test_waiting_to_measure_and_measuring_are_told_apart() -> None:
    waiting = Estimate("waiting", sentence="3rd in line.")
    assert words.measuring_line(waiting, False) == "Waiting to measure. Times appear when the computer is free."
    assert "times are estimates" in words.measuring_line(waiting, True)
    assert words.measuring_line(Estimate("measuring"), True) == "Measuring …"
    assert words.measuring_line(Estimate("measuring", done=2, of=5), False) == "Measuring … 2 of 5 steps."


def test_a_training_says_how_fast_it_is_once_it_has_timed_a_step() -> None:
    config = plan(DRAFT)
    going = Summary(step=30, steps=180, speed=2.0, left=85.0, seconds=25.0, time=7.0)
    pace = pace_of_run(config, going)
    assert pace and (pace.step, pace.once, pace.at, pace.seconds(config)) == (0.5, 20.0, 7.0, 110.0)
    assert pace_of_run(config, Summary(step=0, steps=180, left=85.0)) is None


def test_work_counts_pictures_layers_and_what_is_computed_twice() -> None:
    usual = work_of(plan(DRAFT))
    assert work_of(plan(DRAFT, train={"batch_size": 8})) == pytest.approx(2 * usual)
    assert work_of(plan(DRAFT, train={"gradient_checkpointing": True})) == pytest.approx(usual * 4 / 3)
    assert work_of(plan(DRAFT, targets={"unet": "attn"})) < usual < work_of(plan(choose(DRAFT, "method", "loha")))
