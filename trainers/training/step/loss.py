"""The loss: prediction error, weighted by timestep and mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainers.config.sections import Loss
from trainers.models.schedule import Schedule


def draw_noise(shape: torch.Size, offset: float, draw: torch.Generator) -> Tensor:
    """Standard normal noise `(n, c, h, w)`; `offset` adds a random constant per image and channel."""
    noise = torch.randn(shape, generator=draw)
    if offset:
        noise = noise + offset * torch.randn(*shape[:2], 1, 1, generator=draw)
    return noise


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
    """
    gamma = weighting_gamma(schedule, settings)
    if gamma:
        return _min_snr(schedule, t, gamma)
    sigma = t.float() / schedule.steps
    match settings.weighting:
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


def prior_preserving_error(
    prediction: Tensor,
    target: Tensor,
    weights: Tensor,
    mask: Tensor | None,
    settings: Loss,
    classes: int = 0,
    prior_weight: float = 1.0,
) -> Tensor:
    """L = images + λ class images, the last `classes` of the batch (Ruiz et al. 2022, §3.2)."""
    count = len(prediction) - classes
    terms = [
        weighted_error(prediction[part], target[part], weights[part], None if mask is None else mask[part], settings)
        for part in (slice(count), slice(count, None))[: 2 if classes else 1]
    ]
    return terms[0] + prior_weight * terms[1] if classes else terms[0]


def weighted_error(prediction: Tensor, target: Tensor, weights: Tensor, mask: Tensor | None, settings: Loss) -> Tensor:
    """The scalar loss: the mean of `error_by_image`, with weights `(n,)`."""
    return (weights * error_by_image(prediction, target, mask, settings)).mean()


def error_by_image(prediction: Tensor, target: Tensor, mask: Tensor | None, settings: Loss) -> Tensor:
    """The mean error `(n,)` of predictions and targets `(n, c, h, w)`, with an optional mask `(n, 1, h, w)`.

    Pseudo-Huber is 2δ²(√(1 + (e/δ)²) − 1), which is e² for small errors and 2δ|e| for large ones.
    """
    error = prediction.float() - target.float()
    if settings.kind == "huber":
        # The same without subtracting nearly equal numbers: √(1 + z²) − 1 = z² / (√(1 + z²) + 1).
        score = 2 * error**2 / ((1 + (error / settings.huber_delta) ** 2).sqrt() + 1)
    else:
        score = error**2
    if mask is None:
        return score.flatten(1).mean(1)
    share = mask.expand_as(score).flatten(1)
    return (score.flatten(1) * share).sum(1) / share.sum(1).clamp(min=1)
