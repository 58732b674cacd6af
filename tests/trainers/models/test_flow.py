"""Flow matching: the way from image to noise, its times, and diffusers' samplers with its shift."""

from __future__ import annotations

import math

import diffusers
import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from trainers.config.limits import FLOW_SAMPLERS
from trainers.config.times import parse_times
from trainers.errors import VelaturaError
from trainers.models.flow import FlowSchedule, TokenShift, flow_from_config
from trainers.models.samplers import keep_prediction, make_scheduler, spacing

U = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
BY_TOKENS = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "shift": 3.0}


def sigma(text: str, schedule: FlowSchedule, pixels: int = 0) -> torch.Tensor:
    return schedule.timesteps_at(U, parse_times(text), pixels).double() / 1000


def test_the_image_follows_from_a_perfect_prediction() -> None:
    schedule, draw = FlowSchedule(3.0), torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 16, 4, 6, generator=draw) for _ in range(2))
    t = torch.tensor([0.0, 250.0, 1000.0])
    noisy, target = schedule.add_noise(latents, noise, t), schedule.target(latents, noise, t)
    assert torch.equal(noisy[0], latents[0]) and torch.equal(noisy[2], noise[2])
    assert torch.allclose(noisy[1], 0.75 * latents[1] + 0.25 * noise[1], atol=1e-6)
    assert (schedule.picture(target, t, noisy) - latents).abs().max() < 1e-6
    assert schedule.snr(t).tolist() == pytest.approx([math.inf, 9.0, 0.0])


def test_noise_is_that_of_diffusers_scheduler() -> None:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    draw = torch.Generator().manual_seed(1)
    latents, noise = (torch.randn(2, 4, 3, 3, generator=draw) for _ in range(2))
    t = theirs.timesteps[[100, 900]]
    ours = FlowSchedule(3.0).add_noise(latents, noise, t)
    assert (ours - theirs.scale_noise(latents, t, noise)).abs().max() < 1e-6


def test_times_of_training() -> None:
    schedule = FlowSchedule(3.0)
    assert sigma("uniform", schedule).mean().item() == pytest.approx(0.5, abs=1e-4)
    drawn = sigma("logit-normal 0 1 shifted 3", schedule)
    assert (3 * U / (1 + 2 * U) - sigma("shifted 3", schedule)).abs().max() < 1e-6
    assert torch.allclose(torch.logit(drawn) - math.log(3), torch.special.ndtri(U), atol=1e-4)
    assert torch.equal(drawn, sigma("logit-normal 0 1 shifted auto", schedule))
    friendly = torch.logit(sigma("style-friendly -6 2", schedule)) * -2
    assert friendly.mean().item() == pytest.approx(-6, abs=1e-2) and friendly.std().item() == pytest.approx(2, abs=1e-2)
    assert schedule.clamped_share(parse_times("style-friendly")) == (0.0, 0.0)


@pytest.mark.parametrize("side", [256, 512, 1024, 1536])
def test_the_shift_grows_with_the_image(side: int) -> None:
    schedule = flow_from_config(BY_TOKENS, evenly_spaced=True)
    tokens = side * side // 256
    factor = math.exp(calculate_shift(tokens, 256, 4096, 0.5, 1.15))
    assert schedule.factor(side * side) == pytest.approx(factor)
    found = sigma("uniform shifted auto", schedule, side * side)
    assert (factor * U / (1 + (factor - 1) * U) - found).abs().max() < 1e-6
    sampler = make_scheduler(schedule, "euler", side * side)
    sampler.set_timesteps(**spacing(schedule, "euler", 8))
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    theirs.set_timesteps(sigmas=[1 - place / 8 for place in range(8)], mu=math.log(factor))
    assert torch.allclose(sampler.sigmas, theirs.sigmas, atol=1e-6)


def test_schedules_of_configs() -> None:
    assert flow_from_config({"shift": 3.0}) == FlowSchedule(3.0)
    assert flow_from_config({**BY_TOKENS, "max_image_seq_len": 6400}).by_tokens == TokenShift(most_tokens=6400)
    assert FlowSchedule(2.0).factor(10**6) == 2.0


@pytest.mark.parametrize("sampler", FLOW_SAMPLERS)
def test_samplers_reach_the_image_that_is_predicted(sampler) -> None:
    """With a network that always says where the image x₀ is, every sampler ends there, with the shift of the base."""
    schedule, draw = FlowSchedule(3.0), torch.Generator().manual_seed(2)
    image, x = (torch.randn(1, 4, 4, 4, generator=draw) for _ in range(2))
    scheduler = make_scheduler(schedule, sampler)
    picture = keep_prediction(scheduler, schedule)
    scheduler.set_timesteps(**spacing(schedule, sampler, 12))
    assert scheduler.timesteps[0].item() == pytest.approx(1000, abs=2)
    for t in scheduler.timesteps:
        x = scheduler.step((x - image) / (t / 1000), t, x, return_dict=False)[0]
        assert (picture() - image).abs().max() < 1e-3
    assert (x - image).abs().max() < 1e-2


def test_other_samplers_are_refused() -> None:
    with pytest.raises(VelaturaError, match="the sampler 'ddim' is not for flow-matching bases; use euler, heun"):
        make_scheduler(FlowSchedule(), "ddim")
