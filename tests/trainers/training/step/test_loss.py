"""Weights, draws and errors of a step, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.config.sections import Loss
from trainers.models.flow import FlowSchedule
from trainers.models.schedule import NoiseSchedule, schedule_from_config
from trainers.training.step.loss import (
    draw_noise,
    error_by_image,
    huber_delta,
    perturbation,
    prior_preserving_error,
    timestep_weights,
    weighting_gamma,
)

SNR = Loss(weighting="min-snr", min_snr_gamma=5.0)


def schedule(prediction: str) -> NoiseSchedule:
    return NoiseSchedule(torch.tensor([0.99, 0.9, 0.5, 0.2, 0.0], dtype=torch.float64), prediction)


def weighted_error(prediction, target, weights, mask, settings):
    return prior_preserving_error(prediction, target, weights, mask, settings, settings.huber_delta)


def test_min_snr_weights():
    t = torch.arange(5)  # SNR 99, 9, 1, 0.25, 0
    torch.testing.assert_close(
        timestep_weights(schedule("epsilon"), t, SNR), torch.tensor([5 / 99, 5 / 9, 1.0, 1.0, 1.0])
    )
    torch.testing.assert_close(
        timestep_weights(schedule("v_prediction"), t, SNR), torch.tensor([5 / 100, 5 / 10, 0.5, 0.2, 0.0])
    )
    assert torch.equal(timestep_weights(schedule("epsilon"), t, Loss(min_snr_gamma=0)), torch.ones(5))


def test_a_schedule_that_ends_in_noise_weighs_all_the_same_by_itself():
    """With min-SNR its last hundred of 1000 steps have 0.0009 in the mean, beside 0.278 of all, and the last one 0."""
    plain = schedule_from_config({}, "v_prediction")
    t = torch.arange(1000)
    for base, late, mean in ((plain.rescaled(), 0.0009, 0.278), (plain, 0.0087, None)):
        weights = timestep_weights(base, t, SNR)
        assert weights[900:].mean().item() == pytest.approx(late, rel=0.06)
        assert mean is None or weights.mean().item() == pytest.approx(mean, rel=0.01)
        assert (weights[999] == 0) == base.zero_terminal_snr
    noisy, epsilon = plain.rescaled(), schedule_from_config({}, "epsilon")
    expected = {
        ("auto", noisy): 0.0, ("auto", plain): 5.0, ("auto", epsilon): 5.0,
        ("min-snr", noisy): 5.0, ("none", noisy): 0.0, ("none", epsilon): 0.0,
    }  # fmt: skip
    assert {key: weighting_gamma(key[1], Loss(weighting=key[0])) for key in expected} == expected
    assert torch.equal(timestep_weights(noisy, t, Loss()), torch.ones(1000))


def test_weights_of_flow_matching():
    """σ² makes the error of the velocity that of the image, and `cosmap` is the density of a cosine schedule."""
    flow, draw = FlowSchedule(3.0), torch.Generator().manual_seed(3)
    x, noise, wrong = (torch.randn(5, 4, 3, 3, generator=draw) for _ in range(3))
    t = torch.tensor([1.0, 100.0, 500.0, 900.0, 1000.0])
    noisy = flow.add_noise(x, noise, t)
    errors = error_by_image(wrong, flow.target(x, noise, t), None, Loss())
    of_image = error_by_image(flow.picture(wrong, t, noisy), x, None, Loss())
    torch.testing.assert_close(timestep_weights(flow, t, Loss(weighting="sigma-squared")) * errors, of_image)
    fine = (torch.arange(100_000) + 0.5) / 100
    cosmap = timestep_weights(flow, fine, Loss(weighting="cosmap"))
    assert cosmap.mean().item() == pytest.approx(1, abs=1e-4) and cosmap.max().item() == pytest.approx(4 / math.pi)
    assert torch.equal(timestep_weights(flow, t, Loss()), torch.ones(5)) and weighting_gamma(flow, Loss()) == 0


def test_debiased_weights():
    t = torch.arange(5)  # SNR 99, 9, 1, 0.25, 0
    weights = {
        ("epsilon", "debiased"): [99**-0.5, 1 / 3, 1.0, 2.0, 16.0],
        ("v_prediction", "debiased-v"): [0.01, 0.1, 0.5, 0.8, 1.0],
        ("v_prediction", "debiased-v-root"): [0.1, 0.1**0.5, 0.5**0.5, 0.8**0.5, 1.0],
    }
    for (prediction, weighting), expected in weights.items():
        found = timestep_weights(schedule(prediction), t, Loss(weighting=weighting))
        torch.testing.assert_close(found, torch.tensor(expected))
    last = timestep_weights(schedule_from_config({}, "epsilon"), torch.tensor([999]), Loss(weighting="debiased"))
    assert 14 < last.item() < 16  # Stable Diffusion's own last timestep is not cut


SHAPE = torch.Size((64, 4, 16, 16))


def test_noise_offset_moves_whole_channels():
    plain, moved = draw_noise(SHAPE, Loss(), 1, 0), draw_noise(SHAPE, Loss(noise_offset=0.5), 1, 0)
    offset = moved - plain
    assert offset.std((2, 3)).max() < 1e-5
    assert abs(offset[:, :, 0, 0].std().item() - 0.5) < 0.1
    at_random = draw_noise(SHAPE, Loss(noise_offset=0.5, noise_offset_random=True), 1, 0) - plain
    shares = at_random[:, :, 0, 0] / offset[:, :, 0, 0]
    torch.testing.assert_close(shares, shares[:, :1].expand_as(shares), rtol=1e-3, atol=1e-4)
    assert 0 <= shares.min() < 0.1 and 0.9 < shares.max() <= 1 and abs(shares.mean().item() - 0.5) < 0.1


def test_perturbation_is_a_share_of_noise():
    noise = perturbation(SHAPE, Loss(input_perturbation=0.1), 1, 0)
    assert noise.std((1, 2, 3)).tolist() == pytest.approx([0.1] * 64, rel=0.1)
    at_random = perturbation(SHAPE, Loss(input_perturbation=0.1, input_perturbation_random=True), 1, 0)
    shares = at_random.std((1, 2, 3)) / 0.1
    assert shares.min() < 0.1 and shares.max() > 0.9 and abs(shares.mean().item() - 0.5) < 0.1


def test_coarser_noise_is_shared_by_neighbouring_pixels():
    """Means of 8×8 pixels have 1/64 of white noise's variance, and more the stronger the coarser levels are."""
    variances = []
    for settings in (Loss(), *(Loss(multires_iterations=6, multires_discount=d) for d in (0.3, 0.8))):
        noise = draw_noise(SHAPE, settings, 1, 0)
        assert noise.std((1, 2, 3)).tolist() == pytest.approx([1.0] * 64, abs=0.1 if settings == Loss() else 1e-4)
        variances.append(torch.nn.functional.avg_pool2d(noise, 8).var().item())
    assert variances[0] == pytest.approx(1 / 64, rel=0.2)
    assert variances[1] > 1.5 * variances[0] and variances[2] > 3 * variances[1]


def test_coarser_noise_of_an_image_ignores_its_neighbours():
    settings = Loss(multires_iterations=3)
    pair, single = (draw_noise(torch.Size((count, 4, 16, 16)), settings, 1, 0) for count in (2, 1))
    torch.testing.assert_close(pair[:1], single)


def test_errors():
    prediction, target = torch.tensor([[[[0.0, 3.0]]], [[[1.0, 1.0]]]]), torch.zeros(2, 1, 1, 2)
    weights = torch.tensor([2.0, 0.5])
    assert weighted_error(prediction, target, weights, None, Loss()) == pytest.approx((2 * 4.5 + 0.5 * 1) / 2)
    mask = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])
    assert weighted_error(prediction, target, weights, mask, Loss()) == pytest.approx((0 + 0.5) / 2)
    huber = weighted_error(prediction[:1], target[:1], weights[1:], None, Loss(kind="huber", huber_delta=0.5))
    assert huber.item() == pytest.approx(0.5 * (2 * 0.25 * ((1 + 36) ** 0.5 - 1)) / 2)


def test_deltas_of_huber_fall_from_one_to_delta():
    t = torch.arange(5)  # SNR 99, 9, 1, 0.25, 0
    noise_schedule, settings = schedule("epsilon"), Loss(kind="huber", huber_delta=0.1)
    assert huber_delta(noise_schedule, t, settings) == 0.1
    exponential = huber_delta(noise_schedule, t, settings.model_copy(update={"huber_schedule": "exponential"}))
    assert exponential.flatten().tolist() == pytest.approx([0.1 ** (k / 5) for k in range(5)])
    by_snr = huber_delta(noise_schedule, t, settings.model_copy(update={"huber_schedule": "snr"}))
    sigma = [99**-0.5, 1 / 3, 1.0, 2.0]
    assert by_snr.flatten().tolist() == pytest.approx([*(0.1 + 0.9 / (1 + s) ** 2 for s in sigma), 0.1])
    error, target = torch.full((5, 1, 2, 2), 3.0), torch.zeros(5, 1, 2, 2)
    for kind, power in (("huber", 1), ("smooth-l1", 0)):
        found = error_by_image(error, target, None, Loss(kind=kind), by_snr)
        expected = [d**power * 2 * ((9 + d**2) ** 0.5 - d) for d in by_snr.flatten().tolist()]
        assert found.tolist() == pytest.approx(expected, rel=1e-5)


@given(st.floats(1e-4, 1e-2))
def test_huber_is_the_square_for_small_errors(error):
    one = torch.ones(1)
    value = weighted_error(
        torch.full((1, 1, 1, 1), error), torch.zeros(1, 1, 1, 1), one, None, Loss(kind="huber", huber_delta=1)
    )
    assert value.item() == pytest.approx(error**2, rel=1e-4)


def test_a_fully_masked_image_counts_nothing():
    value = weighted_error(
        torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2), torch.ones(1), torch.zeros(1, 1, 2, 2), Loss()
    )
    assert value.item() == 0


def test_the_mean_is_over_what_a_mask_shows():
    prediction = torch.tensor([[[[2.0, 4.0, 9.0, 9.0]]]])
    mask = torch.tensor([[[[1.0, 0.5, 0.0, 0.0]]]])
    error = error_by_image(prediction, torch.zeros_like(prediction), mask, Loss())
    assert error.tolist() == pytest.approx([(4 + 0.5 * 16) / 1.5])


def test_the_loss_is_that_of_the_own_images_and_lambda_times_that_of_the_class():
    error = torch.tensor([1.0, 2.0, 3.0, 5.0])  # of two own and two class images, the same in every pixel
    prediction, target = error.view(4, 1, 1, 1).expand(4, 2, 3, 3), torch.zeros(4, 2, 3, 3)
    weights = torch.tensor([1.0, 0.5, 2.0, 0.25])
    own, classes = (1 + 0.5 * 4) / 2, (2 * 9 + 0.25 * 25) / 2

    def loss(count: int, weight: float, mask: torch.Tensor | None = None) -> float:
        return prior_preserving_error(prediction, target, weights, mask, Loss(), 1.0, count, weight).item()

    assert loss(2, 0.3) == pytest.approx(own + 0.3 * classes)
    assert loss(2, 0.0) == pytest.approx(own)
    assert loss(0, 0.3) == pytest.approx((2 * own + 2 * classes) / 4)
    half = torch.zeros(4, 1, 3, 3)
    half[2:] = 1
    assert loss(2, 0.3, half) == pytest.approx(0.3 * classes)
