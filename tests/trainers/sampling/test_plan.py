"""How often a run is sampled, and with how many pictures of how many steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.config.layers import layers
from trainers.sampling.plan import FEWEST_STEPS, QUICK_SAMPLER, fewer_pictures, plan_previews
from trainers.sampling.sample import SamplingParams

FOUR = SamplingParams(("a", "b", "c", "d"), size=(128, 128), guidance=3.0)


def config(preset: str = "", **sections: object) -> Config:
    return build_config(*layers(preset=preset, above=({"name": "dusk", **sections},)))


@pytest.mark.parametrize(
    ("steps", "every", "sampled"),
    [
        (1, "auto", []),
        (2, "auto", [1]),
        (6, "auto", [1, 2, 3, 4, 5]),
        (300, "auto", [50, 100, 150, 200, 250]),
        (400, "auto", [70, 140, 210, 280, 350]),
        (1000, "auto", [170, 340, 510, 680, 850]),
        (10, 0, []),
        (10, 4, [4, 8]),
        (10, 5, [5]),
    ],
)
def test_a_run_is_sampled_about_every_sixth_of_it_or_as_configured(steps, every, sampled):
    plan = plan_previews(config(train={"steps": steps}, sample={"every": every}), FOUR, 128)
    assert [step for step in range(steps + 1) if plan.is_sampled(step)] == sampled
    assert [plan.sampled_after(step) for step in (0, steps // 2, steps - 1)] == [
        len([each for each in sampled if each > step]) for step in (0, steps // 2, steps - 1)
    ]


def test_a_number_leaves_the_pictures_as_configured():
    for every in (0, 1, 20):
        plan = plan_previews(config(train={"steps": 10}, sample={"every": every}), FOUR, 128)
        assert plan.params == FOUR and not plan.limited


@pytest.mark.parametrize(
    ("steps", "every", "whole"),
    [
        (1, "auto", []),
        (2, "auto", [1]),
        (6, "auto", [2, 4]),
        (12, "auto", [4, 8]),
        (400, "auto", [140, 280]),
        (1000, "auto", [340, 680]),
        (10, 0, []),
        (10, 4, []),
    ],
)
def test_a_third_and_two_thirds_are_drawn_whatever_the_limit(steps, every, whole):
    plan = plan_previews(config(train={"steps": steps}, sample={"every": every}), FOUR, 128)
    assert sorted(plan.whole) == whole and plan.limited == (every == "auto")
    assert [plan.whole_after(step) for step in (0, steps // 2)] == [len(whole), sum(2 * step > steps for step in whole)]


def test_short_runs_draw_fewer_steps_and_then_fewer_seeds():
    def plan(steps: int, params: SamplingParams = FOUR) -> SamplingParams:
        return plan_previews(config(train={"steps": steps, "batch_size": 4}), params, 128).params

    long, medium, short, tiny = (plan(steps) for steps in (5000, 600, 120, 4))
    assert long == FOUR
    assert FEWEST_STEPS < medium.steps < FOUR.steps and len(medium.prompts) == 4
    assert (short.steps, short.sampler) == (FEWEST_STEPS, QUICK_SAMPLER)
    assert short.prompts == tiny.prompts == FOUR.prompts and tiny.steps == FEWEST_STEPS
    last = plan(4, SamplingParams(FOUR.prompts, (7, 8), size=(128, 128)))
    assert (last.prompts, last.seeds, last.steps) == (FOUR.prompts, (7,), FEWEST_STEPS), "every prompt once"
    assert plan(4, SamplingParams(("a",), steps=3, sampler="euler", size=(128, 128))).steps == 3
    assert plan(120, SamplingParams(FOUR.prompts, sampler="euler", size=(128, 128))).sampler == "euler"


@pytest.mark.parametrize(("count", "pictures"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (99, 6)])
def test_fewer_pictures_are_the_first_ones(count, pictures):
    whole = SamplingParams(("a", "b", "c"), (7, 8))
    fewer = fewer_pictures(whole, count)
    assert fewer.pictures == whole.pictures[:pictures]


def test_the_demo_draws_all_its_prompts():
    eight = SamplingParams(tuple("abcdefgh"), steps=8, size=(128, 128), guidance=3.0)
    assert len(plan_previews(config(train={"steps": 300, "batch_size": 4}), eight, 128).params.prompts) == 8


def test_the_plan_is_known_from_the_config_alone(tmp_path: Path):
    """A resumed run draws with the settings of its first pictures."""
    made = config("quick")
    assert plan_previews(made, FOUR, 128) == plan_previews(made.model_copy(), FOUR, 128)
