"""Diffusers' samplers against the closed form: a perfect prediction must lead to the data it predicts."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.models.test_schedule import plain
from trainers.config.limits import SAMPLERS
from trainers.errors import VelaturaError
from trainers.models.samplers import make_scheduler, spacing, step_of_call
from trainers.models.schedule import NoiseSchedule

BASES = [("epsilon", False), ("v_prediction", False), ("v_prediction", True)]
LEAST_SPREAD = {"lcm": 0.17, "euler a": 0.22, "dpm++ 2m karras": 0.29, "dpm++ 2m quick": 0.28}
"""Of 0.3, what is left in 25 steps at least; the others keep 0.235."""


def schedule_of(prediction: str, zero: bool) -> NoiseSchedule:
    return plain(prediction).rescaled() if zero else plain(prediction)


def sampled(schedule: NoiseSchedule, sampler: str, steps: int, mean: float, spread: float) -> torch.Tensor:
    """Pictures of independent pixels from N(mean, spread²), by the best prediction there can be."""
    scheduler = make_scheduler(schedule, sampler)
    scheduler.set_timesteps(**spacing(schedule, sampler, steps))
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 64, 64, generator=draw) * scheduler.init_noise_sigma
    random = {"generator": draw} if sampler in ("euler a", "dpm++ 2m sde", "lcm") else {}
    for t in scheduler.timesteps:
        noisy = scheduler.scale_model_input(x, t).double()
        abar = schedule.alphas_cumprod[int(t)]
        a, sigma = abar.sqrt(), (1 - abar).sqrt()
        clean = mean + a * spread**2 / (a**2 * spread**2 + sigma**2) * (noisy - a * mean)
        noise = (noisy - a * clean) / sigma
        output = noise if schedule.prediction == "epsilon" else a * noise - sigma * clean
        x = scheduler.step(output.float(), t, x, **random).prev_sample
    return x


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("zero", [False, True])
def test_schedulers_walk_this_schedule(sampler, zero):
    schedule = schedule_of("v_prediction", zero)
    scheduler = make_scheduler(schedule, sampler)
    assert scheduler.config.prediction_type == "v_prediction"
    ours, theirs = schedule.alphas_cumprod[:-1], scheduler.alphas_cumprod.double()[:-1]
    assert ((theirs - ours) / ours).abs().max() < (2e-3 if zero else 1e-4)  # diffusers multiplies up in fp32
    for steps in (1, 2, 10, 334, 501, 1000):  # however many, the first step is at pure noise
        scheduler.set_timesteps(**spacing(schedule, sampler, steps))
        calls = scheduler.timesteps.tolist()
        assert int(calls[0]) == 999
        assert calls == sorted(calls, reverse=True) and len(set(calls)) == steps
        assert [step_of_call(scheduler, call) for call in range(len(calls))] == sorted(
            step_of_call(scheduler, call) for call in range(len(calls))
        )
        assert {step_of_call(scheduler, call) for call in range(len(calls))} == set(range(steps))


def test_unknown_sampler():
    with pytest.raises(VelaturaError, match=r"'plms'; available are ddim, euler, euler a, heun, dpm\+\+, "):
        make_scheduler(plain(), "plms")


@pytest.mark.parametrize("steps", [4, 8, 25])
@pytest.mark.parametrize(("prediction", "zero"), BASES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_single_picture_is_met_exactly(sampler, prediction, zero, steps):
    """A wrong prediction type, a wrong ᾱ or a first step that is not at pure noise misses it."""
    x = sampled(schedule_of(prediction, zero), sampler, steps, 1.5, 0.0)
    # DDIM ends at the first timestep, not before it, so a little noise is left.
    abar = schedule_of(prediction, zero).alphas_cumprod[0] if sampler == "ddim" else torch.tensor(1.0)
    assert x.mean().item() == pytest.approx(1.5 * abar.sqrt().item(), abs=5e-3)
    assert x.std().item() == pytest.approx((1 - abar).sqrt().item(), abs=2e-3)


@pytest.mark.parametrize(("prediction", "zero"), BASES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_more_steps_come_nearer_to_the_data(sampler, prediction, zero):
    """Data N(μ, s²): each step loses some of the spread, the last one most."""
    found = [sampled(schedule_of(prediction, zero), sampler, steps, 1.5, 0.3) for steps in (4, 8, 25)]
    assert [x.mean().item() for x in found] == pytest.approx([1.5] * 3, abs=0.04)
    spreads = [x.std().item() for x in found]
    assert spreads == sorted(spreads)
    assert LEAST_SPREAD.get(sampler, 0.235) < spreads[-1] < 0.305
