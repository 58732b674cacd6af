"""How times are drawn: each distribution against its density, and what a base's steps make of it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.config.build import build_config
from trainers.config.sections import Loss
from trainers.config.times import KINDS, USUAL, Times, parse_times
from trainers.errors import VelaturaError
from trainers.models.schedule import (
    NoiseSchedule,
    draw_timesteps,
    nearest_steps,
    schedule_from_config,
)
from trainers.models.times import log_snr_at
from trainers.randomness import generator

U = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
PLAIN = schedule_from_config({}, "epsilon")
TO_NOISE = schedule_from_config({"rescale_betas_zero_snr": True}, "v_prediction")


def times(text: str) -> Times:
    return parse_times(text)


def sigma(text: str) -> torch.Tensor:
    """σ at evenly spread u, noisiest first where the distribution runs that way."""
    return torch.sigmoid(-log_snr_at(U, times(text)) / 2)


def short(total: int) -> NoiseSchedule:
    return NoiseSchedule(torch.linspace(0.999, 0.01, total, dtype=torch.float64), "epsilon")


@given(st.floats(-3, 3), st.integers(2, 2000))
def test_timesteps_stay_in_range_and_follow_the_power(bias: float, total: int) -> None:
    t = draw_timesteps(2000, short(total), Times("power", (bias,)), generator(0, "t"))
    assert t.min() >= 0 and t.max() < total
    expected = 1 / (1 + 2.0**-bias)  # the mean of u^k is 1 / (1 + k)
    assert abs((t.double().mean() + 0.5).item() / total - expected) < 0.03 + 0.5 / total


def test_uniform_draws_are_those_of_earlier_versions() -> None:
    u = torch.rand(500, generator=generator(3, "t"), dtype=torch.float64)
    assert torch.equal(draw_timesteps(500, PLAIN, Times(), generator(3, "t")), (1000 * u).long())
    squared = draw_timesteps(500, PLAIN, times("power -1"), generator(3, "t"))
    assert torch.equal(squared, (1000 * u**2.0).long())


def test_uniform_times_may_be_a_part_of_the_steps() -> None:
    drawn = PLAIN.timesteps_at(U, times("uniform 200 800"))
    assert (drawn.min().item(), drawn.max().item()) == (200, 799)
    assert (
        drawn.double().mean().item() == pytest.approx(499.5) and drawn.unique(return_counts=True)[1].double().std() < 1
    )
    assert short(10).timesteps_at(U, times("uniform 200 800")).unique().tolist() == [2, 3, 4, 5, 6, 7]
    assert short(2).timesteps_at(U, times("uniform 999")).unique().tolist() == [1], "never beyond the last one"


def test_the_distributions_have_their_densities() -> None:
    # Moments of the logit and of log-SNR; closed forms of the others at u = 1/4, 1/2, 3/4.
    for mean, spread in ((0.0, 1.0), (-1.0, 0.5)):
        logits = torch.logit(sigma(f"logit-normal {mean} {spread}"))
        assert logits.mean().item() == pytest.approx(mean, abs=1e-3)
        assert logits.std().item() == pytest.approx(spread, rel=1e-3)
    friendly = log_snr_at(U, times("style-friendly"))
    assert friendly.mean().item() == pytest.approx(-6, abs=1e-3)
    assert friendly.std().item() == pytest.approx(2, rel=1e-3)
    quarters = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    shifted = torch.sigmoid(-log_snr_at(quarters, times("shifted 3")) / 2)
    assert shifted.tolist() == pytest.approx([0.5, 0.75, 0.9])
    mode = torch.sigmoid(-log_snr_at(quarters, times("mode 1")) / 2)
    assert mode.tolist() == pytest.approx([1 - math.cos(math.pi * u / 2) ** 2 + 1 - 2 * u for u in (0.25, 0.5, 0.75)])
    assert sigma("mode 0").mean().item() == pytest.approx(0.5) and sigma("shifted 1").std().item() == pytest.approx(
        12**-0.5, rel=1e-4
    )


def test_mode_stays_within_the_times_over_its_whole_range() -> None:
    for scale in (-1.0, 1.29, 1.75):
        found = sigma(f"mode {scale}")
        assert found.min() >= 0 and found.max() <= 1 and bool((found.diff() <= 1e-12).all())
    # A positive scale prefers the middle, a negative one the ends.
    positive, negative = (
        ((found - 0.5).abs() < 0.25).double().mean() for found in map(sigma, ("mode 1.29", "mode -1"))
    )
    assert positive > 0.6 and negative < 0.4


@settings(deadline=None)
@given(st.floats(-25, 25), st.sampled_from((PLAIN, TO_NOISE, short(7))))
def test_a_base_has_the_step_with_the_nearest_log_snr(wanted: float, schedule: NoiseSchedule) -> None:
    (found,) = nearest_steps(torch.tensor([wanted], dtype=torch.float64), schedule).tolist()
    table = torch.logit(schedule.alphas_cumprod)
    if schedule.zero_terminal_snr:
        table[-1] = 2 * table[-2] - table[-3]
    assert (table[found] - wanted).abs() == (table - wanted).abs().min()


def test_what_lies_beyond_a_base_counts_as_its_last_step() -> None:
    style = times("style-friendly")
    cleaner, noisier = PLAIN.clamped_share(style)
    last = torch.logit(PLAIN.alphas_cumprod)[-1].item()
    expected = 0.5 * (1 + math.erf((last + 6) / 2 / math.sqrt(2)))
    assert noisier == pytest.approx(expected, abs=1e-3) and 0.5 < noisier < 0.8 and cleaner == 0
    drawn = PLAIN.timesteps_at(U, style)
    assert (drawn == 999).double().mean().item() == pytest.approx(noisier, abs=0.02)
    assert TO_NOISE.clamped_share(times("style-friendly -2"))[1] < 0.1
    assert TO_NOISE.timesteps_at(torch.zeros(1, dtype=torch.float64), style).tolist() == [999], "pure noise is drawn"
    assert PLAIN.clamped_share(Times()) == PLAIN.clamped_share(times("power 3")) == (0.0, 0.0)


@pytest.mark.parametrize("schedule", [PLAIN, TO_NOISE, short(2)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_number_gives_a_step(kind: str, schedule: NoiseSchedule) -> None:
    u = torch.tensor([0.0, 1e-300, 0.5, 1 - 2**-53], dtype=torch.float64)
    found = schedule.timesteps_at(u, times(kind))
    assert found.dtype == torch.int64 and found.min() >= 0 and found.max() < schedule.steps


def test_style_friendly_times_are_noisier_than_uniform_ones() -> None:
    mean = {
        text: PLAIN.timesteps_at(U, times(text)).double().mean().item() for text in ("uniform", "style-friendly -4")
    }
    assert mean["style-friendly -4"] > mean["uniform"] + 200


# ---------------------------------------------------------------- the setting
def test_the_numbers_may_be_left_out() -> None:
    for kind in KINDS:
        assert parse_times(kind) == (Times(kind, (), 3.0) if kind == "shifted" else Times(kind, USUAL[kind]))
    assert parse_times(" style-friendly  -4 ") == Times("style-friendly", (-4.0, 2.0))
    assert Loss(timesteps=" style-friendly  -4 ").timesteps == "style-friendly -4"


def test_a_distribution_can_be_shifted() -> None:
    assert parse_times("logit-normal 0 1 shifted 3") == Times("logit-normal", (0.0, 1.0), 3.0)
    assert parse_times("uniform shifted") == Times("uniform", (0.0, 1000.0), 3.0)
    assert parse_times("mode shifted auto") == Times("mode", (1.29,), "auto")
    plain, shifted = (log_snr_at(U, times(f"logit-normal 0 1{more}")) for more in ("", " shifted 3"))
    assert (plain - shifted).max().item() == pytest.approx(2 * math.log(3))
    assert torch.equal(PLAIN.timesteps_at(U, times("uniform shifted auto")), PLAIN.timesteps_at(U, times("uniform")))
    for text in ("uniform shifted x", "uniform shifted 3 4", "shifted auto 3"):
        with pytest.raises(ValueError, match="the numbers of shifted are"):
            parse_times(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("normal", "'normal' is none of uniform, power, logit-normal, mode, shifted, style-friendly"),
        ("", "'' is none of uniform"),
        ("uniform -1 5", "the numbers of uniform are 0…999 1…1000"),
        ("uniform 500 500", "the first timestep must be below the last one"),
        ("power 5", "the numbers of power are -4…4"),
        ("logit-normal 0 0", "the numbers of logit-normal are -20…20 0.01…20"),
        ("shifted x", "the numbers of shifted are 0.01…100"),
        ("mode 1.8", "the numbers of mode are -1…1.75"),
        ("style-friendly 1 2 3", "the numbers of style-friendly are"),
        ("style-friendly nan", "the numbers of style-friendly are"),
        ("shifted inf", "the numbers of shifted are"),
    ],
)
def test_what_is_no_distribution_is_refused(text: str, said: str) -> None:
    with pytest.raises(VelaturaError, match=r"loss\.timesteps") as caught:
        build_config({"name": "x", "loss": {"timesteps": text}})
    assert said in str(caught.value)


def test_the_old_name_is_read() -> None:
    assert build_config({"name": "x", "loss": {"timestep_bias": 1.5}}).loss.timesteps == "power 1.5"
    assert build_config({"name": "x", "loss": {"timestep_bias": 0.0}}).loss == Loss()
    kept = build_config({"name": "x", "loss": {"timestep_bias": 1.0, "timesteps": "mode"}})
    assert kept.loss.timesteps == "mode"
    with pytest.raises(VelaturaError, match="the numbers of power"):
        build_config({"name": "x", "loss": {"timestep_bias": 9}})
