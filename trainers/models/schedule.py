"""The noise schedule x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · ε, the network's target, and random timesteps.

Zero terminal SNR: Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1.
Velocity v = √ᾱ_t · ε − √(1 − ᾱ_t) · x_0: Salimans and Ho 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from trainers.config.times import Times
from trainers.errors import VelaturaError
from trainers.models.prediction import Prediction
from trainers.models.times import log_snr_at, share_at

SHARES = 100_000
"""Sample size for `clamped_share`."""


class Schedule(Protocol):
    """A schedule of T timesteps: adds noise, computes the network's target, and maps random numbers to times."""

    @property
    def prediction(self) -> Prediction:
        """The network's prediction type."""

    @property
    def steps(self) -> int:
        """Number of training timesteps T."""

    @property
    def zero_terminal_snr(self) -> bool:
        """Whether the last timestep is pure noise."""

    def add_noise(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t for latents and noise (n, c, h, w) and timesteps (n,), in the latents' dtype."""

    def target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The network's target (n, c, h, w)."""

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio of timesteps (n,), fp32 on t's device."""

    def timesteps_at(self, u: Tensor, times: Times, pixels: int = 0) -> Tensor:
        """The timesteps `(n,)` at uniform numbers u `(n,)` in [0, 1), fp64, for images of this many pixels."""

    def clamped_share(self, times: Times) -> tuple[float, float]:
        """The shares of the times that are cleaner than the first step and noisier than the last one."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """ᾱ_t for t = 0 … T − 1 (descending, fp64, on the CPU) and the prediction type."""

    alphas_cumprod: Tensor
    prediction: Prediction

    @property
    def steps(self) -> int:
        """Number of training timesteps T."""
        return len(self.alphas_cumprod)

    @property
    def zero_terminal_snr(self) -> bool:
        """Whether the last timestep is pure noise."""
        return self.alphas_cumprod[-1].item() == 0

    def _signal_and_noise(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        abar = self.alphas_cumprod[t.cpu()].view(-1, *(1,) * (like.ndim - 1))  # (n, 1, 1, 1)
        signal, noise = abar.sqrt(), (1 - abar).sqrt()
        return signal.to(like.device, torch.float32), noise.to(like.device, torch.float32)

    def add_noise(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t for latents and noise (n, c, h, w) and timesteps (n,), in the latents' dtype."""
        signal, sigma = self._signal_and_noise(t, latents)
        return (signal * latents + sigma * noise).to(latents.dtype)

    def target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The network's target (n, c, h, w): the noise, or the velocity."""
        if self.prediction == "epsilon":
            return noise
        signal, sigma = self._signal_and_noise(t, latents)
        return (signal * noise - sigma * latents).to(latents.dtype)

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio ᾱ_t / (1 − ᾱ_t) of timesteps (n,), fp32 on t's device."""
        abar = self.alphas_cumprod[t.cpu()]
        return (abar / (1 - abar)).to(t.device, torch.float32)

    def timesteps_at(self, u: Tensor, times: Times, pixels: int = 0) -> Tensor:
        """The timesteps `(n,)` at uniform numbers u `(n,)` in [0, 1), fp64."""
        if _is_of_timesteps(times):
            return (self.steps * share_at(u, times)).long().clamp(max=self.steps - 1)
        return nearest_steps(log_snr_at(u, times), self)

    def clamped_share(self, times: Times) -> tuple[float, float]:
        """The shares of the times that are cleaner than the first step and noisier than the last one."""
        if _is_of_timesteps(times):
            return 0.0, 0.0
        u = (torch.arange(SHARES, dtype=torch.float64) + 0.5) / SHARES
        log_snr, table = log_snr_at(u, times), _table(self)
        return (log_snr > table[0]).double().mean().item(), (log_snr < table[-1]).double().mean().item()

    def rescaled(self) -> NoiseSchedule:
        """This schedule with zero terminal SNR: √ᾱ shifted to end at 0 and scaled to keep its start."""
        root = self.alphas_cumprod.sqrt()
        root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
        return NoiseSchedule(root.square(), self.prediction)


def schedule_from_config(config: Mapping[str, Any], prediction: Prediction) -> NoiseSchedule:
    """The schedule of a diffusers `scheduler_config.json`; VelaturaError for unsupported beta schedules."""
    steps = int(config.get("num_train_timesteps", 1000))
    start, end = float(config.get("beta_start", 0.00085)), float(config.get("beta_end", 0.012))
    kind = config.get("beta_schedule", "scaled_linear")
    if config.get("trained_betas") is not None:
        betas = torch.tensor(config["trained_betas"], dtype=torch.float64)
    elif kind == "scaled_linear":
        betas = torch.linspace(math.sqrt(start), math.sqrt(end), steps, dtype=torch.float64).square()
    elif kind == "linear":
        betas = torch.linspace(start, end, steps, dtype=torch.float64)
    else:
        raise VelaturaError(
            "the base's noise schedule is {kind!r}; Stable Diffusion bases have `scaled_linear` or `linear`", kind=kind
        )
    schedule = NoiseSchedule((1 - betas).cumprod(0), prediction)
    return schedule.rescaled() if config.get("rescale_betas_zero_snr") else schedule


# ---------------------------------------------------------------- how times are drawn
def draw_timesteps(count: int, schedule: Schedule, times: Times, draw: torch.Generator, pixels: int = 0) -> Tensor:
    """Random timesteps `(count,)` from 0 to T; some distributions depend on the images' number of pixels."""
    return schedule.timesteps_at(torch.rand(count, generator=draw, dtype=torch.float64), times, pixels)


def _is_of_timesteps(times: Times) -> bool:
    """Whether the distribution is one of timesteps, not of σ."""
    return times.kind in ("uniform", "power") and times.shift in (1.0, "auto")


def nearest_steps(log_snr: Tensor, schedule: NoiseSchedule) -> Tensor:
    """The timesteps `(n,)` with the log-SNR nearest to `log_snr`."""
    table = -_table(schedule)  # ascending
    after = torch.searchsorted(table, -log_snr).clamp(1, len(table) - 1)
    before = after - 1
    return torch.where(-log_snr - table[before] <= table[after] + log_snr, before, after)


def _table(schedule: NoiseSchedule) -> Tensor:
    """The log-SNR `(T,)` of each timestep, fp64; pure noise, at −∞, counts as one step below the last finite one."""
    table = torch.logit(schedule.alphas_cumprod)  # ln(ᾱ / (1 − ᾱ))
    if schedule.zero_terminal_snr:
        table[-1] = 2 * table[-2] - table[-3]
    return table
