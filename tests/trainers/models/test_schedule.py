"""The noise schedule against its definition, in numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.errors import VelaturaError
from trainers.models.schedule import NoiseSchedule, schedule_from_config

CONFIG = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def plain(prediction="epsilon") -> NoiseSchedule:
    return schedule_from_config(CONFIG, prediction)


def test_scaled_linear_by_hand():
    abar, product = plain().alphas_cumprod, 1.0
    for t in range(1000):
        product *= 1 - (math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) * t / 999) ** 2
        if t in (0, 1, 500, 999):
            assert abar[t].item() == pytest.approx(product, rel=1e-12)
    assert abar[999].item() == pytest.approx(0.0046602, rel=1e-4)  # the published value for Stable Diffusion


def test_other_betas():
    linear = schedule_from_config({**CONFIG, "beta_schedule": "linear"}, "epsilon")
    assert linear.alphas_cumprod[1].item() == pytest.approx((1 - 0.00085) * (1 - (0.00085 + 0.01115 / 999)))
    given_betas = schedule_from_config({"trained_betas": [0.1, 0.2]}, "epsilon")
    assert given_betas.alphas_cumprod.tolist() == pytest.approx([0.9, 0.72])
    with pytest.raises(VelaturaError, match="squaredcos"):
        schedule_from_config({**CONFIG, "beta_schedule": "squaredcos_cap_v2"}, "epsilon")


@given(st.integers(0, 999), st.floats(-2, 2), st.floats(-2, 2))
@settings(max_examples=30)
def test_noise_target_and_snr(t, x, e):
    abar = plain().alphas_cumprod[t].item()
    # Per image its own timestep: the second image is always at t = 10.
    steps, other = torch.tensor([t, 10]), plain().alphas_cumprod[10].item()
    latents, noise = torch.full((2, 4, 3, 5), x), torch.full((2, 4, 3, 5), e)
    noisy = plain().add_noise(latents, noise, steps)
    assert noisy.shape == latents.shape
    assert noisy[0, 0, 0, 0].item() == pytest.approx(math.sqrt(abar) * x + math.sqrt(1 - abar) * e, abs=1e-5)
    assert noisy[1, 3, 2, 4].item() == pytest.approx(math.sqrt(other) * x + math.sqrt(1 - other) * e, abs=1e-5)
    v = plain("v_prediction").target(latents, noise, steps)
    assert v[0, 0, 0, 0].item() == pytest.approx(math.sqrt(abar) * e - math.sqrt(1 - abar) * x, abs=1e-5)
    assert torch.equal(plain().target(latents, noise, steps), noise)
    assert plain().snr(steps)[0].item() == pytest.approx(abar / (1 - abar), rel=1e-5)


def test_number_format_is_the_latents():
    latents = torch.ones(1, 4, 2, 2, dtype=torch.bfloat16)
    schedule = plain("v_prediction")
    assert schedule.add_noise(latents, latents, torch.tensor([5])).dtype == torch.bfloat16
    assert schedule.target(latents, latents, torch.tensor([5])).dtype == torch.bfloat16


def test_zero_terminal_snr_closed_form():
    before, after = plain("v_prediction").alphas_cumprod.sqrt(), plain("v_prediction").rescaled()
    first, last = before[0].item(), before[-1].item()
    root = after.alphas_cumprod.sqrt()
    assert root[-1].item() == 0
    assert root[0].item() == pytest.approx(first, rel=1e-12)
    for t in (1, 250, 998):
        assert root[t].item() == pytest.approx((before[t].item() - last) * first / (first - last), rel=1e-9)
    assert after.zero_terminal_snr
    assert not plain().zero_terminal_snr
    assert after.prediction == "v_prediction"
    t = torch.tensor([999])
    x, e = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    assert torch.equal(after.add_noise(x, e, t), e)
    assert torch.equal(after.target(x, e, t), -x)
    assert after.snr(t).item() == 0
    assert schedule_from_config({**CONFIG, "rescale_betas_zero_snr": True}, "v_prediction").zero_terminal_snr
