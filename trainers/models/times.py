"""Distributions of timesteps or of σ, each a function of one uniform number u in (0, 1).

`uniform a b` is the timestep ⌊T (a + (b − a) u) / 1000⌋: `uniform 200 800` leaves out the cleanest and the noisiest
fifth. `power b` is ⌊T u^(2^−b)⌋. The others are distributions of σ, the time of flow models from 0 (image) to 1
(noise), with log-SNR λ = 2 ln((1 − σ)/σ):

    logit-normal m s     σ = sigmoid(m + s Φ⁻¹(u))                     Esser et al. 2024, §3.1
    mode s               σ = 1 − u − s (cos²(πu/2) − 1 + u)            the same
    … shifted a          σ' = a σ / (1 + (a − 1) σ)                    the same, §5.3.2, for resolutions
    style-friendly m s   σ = sigmoid(−λ/2), λ = m + s Φ⁻¹(u)           Choi et al. 2024 (2411.14793)

`shifted` follows another distribution, or stands alone for a uniform σ; it adds −2 ln a to λ. A base with timesteps
takes the one with the nearest log-SNR.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainers.config.times import Times


def log_snr_at(u: Tensor, times: Times) -> Tensor:
    """The log-SNR λ `(n,)` of a distribution of σ at uniform numbers u `(n,)`."""
    return _unshifted(u, times) - 2 * math.log(1.0 if times.shift == "auto" else times.shift)


def share_at(u: Tensor, times: Times) -> Tensor:
    """The fraction t / T `(n,)` of a distribution of timesteps at uniform numbers u `(n,)`."""
    if times.kind == "power":
        return u ** (2.0 ** -times.numbers[0])
    first, last = times.numbers
    return first / 1000 + (last - first) / 1000 * u


def _unshifted(u: Tensor, times: Times) -> Tensor:
    match times.kind:
        case "style-friendly":
            mean, spread = times.numbers
            return mean + spread * torch.special.ndtri(u)
        case "logit-normal":
            mean, spread = times.numbers
            return -2 * (mean + spread * torch.special.ndtri(u))
        case "mode":
            (scale,) = times.numbers
            return -2 * torch.logit(1 - u - scale * (torch.cos(math.pi * u / 2) ** 2 - 1 + u))
        case "uniform" | "power":
            return -2 * torch.logit(share_at(u, times))
        case "shifted":
            return -2 * torch.logit(u)
