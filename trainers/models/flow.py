"""Flow matching: x_t = (1 − σ) x₀ + σ ε, and the network's target ε − x₀ (Lipman et al. 2022; Liu et al. 2022).

Timesteps are t = 1000 σ, real numbers from 0 (image) to 1000 (noise). The same noise hides less of a larger image, so
times are shifted: σ' = a σ / (1 + (a − 1) σ), which multiplies σ / (1 − σ) by a (Esser et al. 2024, §5.3.2). In some
families a is constant; in others it grows with the number of tokens n of the image, a = e^μ with μ linear in n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainers.config.times import Times
from trainers.models.prediction import Prediction
from trainers.models.times import log_snr_at

STEPS = 1000


@dataclass(frozen=True)
class TokenShift:
    """The shift by the number of image tokens: μ is `base` at `base_tokens` and `most` at `most_tokens`."""

    base: float = 0.5
    most: float = 1.15
    base_tokens: int = 256
    most_tokens: int = 4096
    pixels: int = 256
    """Pixels per token."""

    def factor(self, pixels: int) -> float:
        """The shift a of an image with this many pixels."""
        slope = (self.most - self.base) / (self.most_tokens - self.base_tokens)
        return math.exp(self.base + slope * (pixels / self.pixels - self.base_tokens))


@dataclass(frozen=True)
class FlowSchedule:
    """Noise and times of a flow-matching base, and its shift in sampling."""

    shift: float = 1.0
    by_tokens: TokenShift | None = None
    """Replaces `shift` by one that depends on the image's size."""
    evenly_spaced: bool = False
    """Whether Euler's times, before the shift, end at 1 / steps; otherwise at 1 / 1000."""
    prediction: Prediction = "flow"
    steps: int = STEPS
    zero_terminal_snr: bool = True

    def factor(self, pixels: int) -> float:
        """The shift a of images with this many pixels."""
        return self.shift if self.by_tokens is None else self.by_tokens.factor(pixels)

    def add_noise(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t for latents and noise (n, c, h, w) and timesteps (n,), in the latents' dtype."""
        sigma = self._sigma(t, latents)
        return ((1 - sigma) * latents + sigma * noise).to(latents.dtype)

    def target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The network's target (n, c, h, w): the velocity from the image to the noise."""
        return noise - latents

    def picture(self, prediction: Tensor, t: Tensor, noisy: Tensor) -> Tensor:
        """x₀ = x_t − σ v, `(n, c, h, w)`, from a prediction v for noisy latents x_t at timesteps (n,) or ()."""
        return noisy - self._sigma(t.reshape(-1), noisy).to(noisy.dtype) * prediction

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio ((1 − σ) / σ)² of timesteps (n,), fp32 on t's device."""
        sigma = t.double() / self.steps
        return ((1 - sigma) / sigma).square().float()

    def timesteps_at(self, u: Tensor, times: Times, pixels: int = 0) -> Tensor:
        """The timesteps `(n,)`, fp32, at uniform numbers u `(n,)` in [0, 1), for images of this many pixels."""
        factor = self.factor(pixels) if times.shift == "auto" else 1.0
        log_snr = log_snr_at(u, times) - 2 * math.log(factor)
        return (self.steps * torch.sigmoid(-log_snr / 2)).float()

    def clamped_share(self, times: Times) -> tuple[float, float]:
        """Zeros: no time is outside of the schedule."""
        return 0.0, 0.0

    def _sigma(self, t: Tensor, like: Tensor) -> Tensor:
        return (t.to(like.device, torch.float32) / self.steps).view(-1, *(1,) * (like.ndim - 1))


def flow_from_config(config: Mapping[str, Any], pixels: int = 256, evenly_spaced: bool = False) -> FlowSchedule:
    """The schedule of a diffusers `scheduler_config.json`, for tokens of this many pixels."""
    if not config.get("use_dynamic_shifting"):
        return FlowSchedule(float(config.get("shift", 1.0)), evenly_spaced=evenly_spaced)
    names = {"base": "base_shift", "most": "max_shift", "base_tokens": "base_image_seq_len"}
    names["most_tokens"] = "max_image_seq_len"
    settings = {name: config[key] for name, key in names.items() if key in config}
    return FlowSchedule(by_tokens=TokenShift(**settings, pixels=pixels), evenly_spaced=evenly_spaced)
