"""The loss: prediction error, weighted by timestep and mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainers.config.sections import Loss
from trainers.models.schedule import Schedule
from trainers.randomness import generator

LARGEST_WEIGHT = 16.0
"""Weight of the debiased loss at SNR 1/256, just above that of Stable Diffusion's last timestep; at 0 it has none."""


def draw_noise(shape: torch.Size, settings: Loss, seed: int, index: int) -> Tensor:
    """Standard normal noise `(n, c, h, w)` of draw number `index`, with coarser noise and an offset if they are on.

    The offset is a random constant per image and channel.
    """
    draw = generator(seed, "noise", index)
    noise = torch.randn(shape, generator=draw)
    if settings.multires_iterations:
        noise = torch.stack(
            [_with_coarser(image, settings, generator(seed, "multires", index, k)) for k, image in enumerate(noise)]
        )
    if settings.noise_offset:
        share = _random_share(settings.noise_offset_random, len(noise), generator(seed, "noise offset", index))
        noise = noise + settings.noise_offset * share * torch.randn(*shape[:2], 1, 1, generator=draw)
    return noise


def perturbation(shape: torch.Size, settings: Loss, seed: int, index: int) -> Tensor:
    """Further noise of the input alone `(n, c, h, w)`: Ning et al. 2023 (arXiv 2301.11706), algorithm 1."""
    draw = generator(seed, "input perturbation", index)
    noise = torch.randn(shape, generator=draw)
    return settings.input_perturbation * _random_share(settings.input_perturbation_random, len(noise), draw) * noise


def _random_share(is_random: bool, count: int, draw: torch.Generator) -> Tensor | float:
    """A share from 0 to 1 for each image, `(n, 1, 1, 1)`, or 1."""
    return torch.rand(count, 1, 1, 1, generator=draw) if is_random else 1.0


def _with_coarser(noise: Tensor, settings: Loss, draw: torch.Generator) -> Tensor:
    """An image's noise `(c, h, w)` plus dⁱ times noise at 1/rⁱ of its size, r from 2 to 4, with deviation 1.

    "Multi-resolution noise for diffusion model training", Whitaker 2023; the deviation is each image's own, so that its
    noise does not depend on its neighbours.
    """
    channels, *size = noise.shape
    for level in range(1, settings.multires_iterations + 1):
        ratio = (2 + 2 * torch.rand((), generator=draw).item()) ** level
        small = [max(1, int(side / ratio)) for side in size]
        coarse = torch.randn(1, channels, *small, generator=draw)
        wide = torch.nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)[0]
        noise = noise + settings.multires_discount**level * wide
        if min(small) == 1:
            break
    return noise / noise.std()


def weighting_gamma(schedule: Schedule, settings: Loss) -> float:
    """γ of the min-SNR weights; 0 with other weights or without weights.

    `auto` avoids them for v and pure noise: the weight of v vanishes at zero SNR, so the last hundred of 1000 timesteps
    would have 1/300 of the mean weight, and brightness and layout would hardly be learned.
    """
    ends_in_noise = schedule.prediction != "epsilon" and schedule.zero_terminal_snr
    on = settings.weighting == "min-snr" or (settings.weighting == "auto" and not ends_in_noise)
    return settings.min_snr_gamma if on else 0.0


def timestep_weights(schedule: Schedule, t: Tensor, settings: Loss) -> Tensor:
    """Weights `(n,)` of timesteps: min-SNR's for ε and v, those of Esser et al. 2024 (§3.1) for flow matching, or ones.

    `sigma-squared`, σ², makes the error that of the image x̂₀ = x_t − σ v; `cosmap` is 2 / (π (1 − 2σ + 2σ²)).
    `debiased` is 1/√SNR for ε (Yu et al. 2023, arXiv 2310.08442, eq. 11), at most `LARGEST_WEIGHT`; other trainers use
    1/(SNR + 1) for v (`debiased-v`) or 1/√(SNR + 1) (`debiased-v-root`).
    """
    gamma = weighting_gamma(schedule, settings)
    if gamma:
        return _min_snr(schedule, t, gamma)
    sigma = t.float() / schedule.steps
    match settings.weighting:
        case "debiased":
            return schedule.snr(t).clamp(min=LARGEST_WEIGHT**-2).rsqrt()
        case "debiased-v":
            return 1 / (schedule.snr(t) + 1)
        case "debiased-v-root":
            return (schedule.snr(t) + 1).rsqrt()
        case "sigma-squared":
            return sigma.square()
        case "cosmap":
            return 2 / (math.pi * (1 - 2 * sigma + 2 * sigma.square()))
    return torch.ones(t.shape, device=t.device)


def _min_snr(schedule: Schedule, t: Tensor, gamma: float) -> Tensor:
    """Min-SNR weights `(n,)`: min(SNR, γ)/SNR for ε and min(SNR, γ)/(SNR + 1) for v.

    Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", §3.4. At zero SNR the ε-weight is
    its limit 1.
    """
    snr = schedule.snr(t)
    if schedule.prediction == "epsilon":
        return torch.where(snr > gamma, gamma / snr.clamp(min=1e-12), torch.ones_like(snr))
    return snr.clamp(max=gamma) / (snr + 1)


def huber_delta(schedule: Schedule, t: Tensor, settings: Loss) -> Tensor | float:
    """δ of pseudo-Huber at timesteps `(n,)`, as `(n, 1, 1, 1)`, or the same for all.

    Khrapov et al. 2024 (arXiv 2403.16728), §4: from 1 at the clean image to c at pure noise, c^(t/T); `snr` is
    c + (1 − c) / (1 + σ)² with σ = √((1 − ᾱ)/ᾱ).
    """
    c = settings.huber_delta
    match settings.huber_schedule:
        case "exponential":
            return (c ** (t.float() / schedule.steps)).view(-1, 1, 1, 1)
        case "snr":
            return (c + (1 - c) / (1 + schedule.snr(t).rsqrt()).square()).view(-1, 1, 1, 1)
    return c


def prior_preserving_error(
    prediction: Tensor,
    target: Tensor,
    weights: Tensor,
    mask: Tensor | None,
    settings: Loss,
    delta: Tensor | float,
    classes: int = 0,
    prior_weight: float = 1.0,
) -> Tensor:
    """L = images + λ class images, the last `classes` of the batch (Ruiz et al. 2022, §3.2)."""
    errors = weights * error_by_image(prediction, target, mask, settings, delta)
    if not classes:
        return errors.mean()
    return errors[:-classes].mean() + prior_weight * errors[-classes:].mean()


def error_by_image(
    prediction: Tensor, target: Tensor, mask: Tensor | None, settings: Loss, delta: Tensor | float = 1.0
) -> Tensor:
    """The mean error `(n,)` of predictions and targets `(n, c, h, w)`, with an optional mask `(n, 1, h, w)`.

    Pseudo-Huber is 2δ²(√(1 + (e/δ)²) − 1), which is e² for small errors and 2δ|e| for large ones; smooth L1 is that
    divided by δ.
    """
    error = prediction.float() - target.float()
    if settings.kind == "mse":
        score = error**2
    else:
        # The same without subtracting nearly equal numbers: √(1 + z²) − 1 = z² / (√(1 + z²) + 1).
        score = 2 * error**2 / ((1 + (error / delta) ** 2).sqrt() + 1)
        score = score / delta if settings.kind == "smooth-l1" else score
    if mask is None:
        return score.flatten(1).mean(1)
    share = mask.expand_as(score).flatten(1)
    return (score.flatten(1) * share).sum(1) / share.sum(1).clamp(min=1)
