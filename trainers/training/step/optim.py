"""Optimizers, learning rates and the moving average of parameters."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trainers.adapters.context import ForwardContext
from trainers.adapters.network import Network
from trainers.adapters.roles import is_denoiser
from trainers.adapters.tokens import Word
from trainers.adapters.updates import Hadamard, Kronecker, LowRank
from trainers.config.config import Config
from trainers.config.optimizers import PRODIGIES, parse_arguments
from trainers.config.sections import Train
from trainers.device import check_offload, check_optimizer, needs_bitsandbytes
from trainers.errors import VelaturaError


def word_learning_rate(word: Word, settings: Train, alone: bool) -> float:
    """The configured rate, or five times the UNet's; with Prodigy or without trained layers the UNet's."""
    share = 1.0 if alone or settings.optimizer in PRODIGIES else 5.0
    return word.learning_rate or settings.learning_rate * share


def parameter_groups(network: Network, settings: Train) -> list[dict[str, Any]]:
    """Parameters grouped by learning rate: UNet or text encoder, block overrides, method ratios, words."""
    alone = not network.hook_points
    words = [word_learning_rate(word, settings, alone) for word in network.words]
    second = settings.text_encoder_2_learning_rate
    groups = network.parameter_groups(settings.learning_rate, settings.text_rate, words, second)
    return [{**group, "peak_lr": group["lr"]} for group in groups]


def make_optimizer(groups: list[dict[str, Any]], settings: Train) -> torch.optim.Optimizer:
    """The configured optimizer. Raises VelaturaError if a package or device is missing."""
    device: torch.device = groups[0]["params"][0].device
    check_optimizer(settings, device)
    check_offload(settings, device)
    optimizer = _by_name(groups, settings)
    if settings.offload_optimizer:
        offload_between_steps(optimizer)
    return optimizer


def _by_name(groups: list[dict[str, Any]], settings: Train) -> torch.optim.Optimizer:
    arguments = {"weight_decay": settings.weight_decay, **parse_arguments(settings.optimizer, settings.optimizer_args)}
    make: Callable[..., torch.optim.Optimizer]
    match settings.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, fused=settings.fused, **arguments)
        case "adafactor":
            from transformers.optimization import Adafactor

            # With steps relative to a tensor's size, a factor that starts at zero would hardly move.
            make = partial(Adafactor, scale_parameter=False, relative_step=False)
        case "lion":
            from lion_pytorch import Lion

            make = Lion
        case "prodigy":
            from prodigyopt import Prodigy

            _require_one_rate(groups, settings)
            arguments = {"d_coef": settings.d_coef, "safeguard_warmup": True, "use_bias_correction": True} | arguments
            with redirect_stdout(io.StringIO()):  # it prints a greeting to standard output
                return Prodigy(groups, **arguments)
        case "prodigy-schedule-free":
            from prodigyplus import ProdigyPlusScheduleFree

            arguments = {"d_coef": settings.d_coef} | arguments
            if not arguments.get("split_groups", True):
                _require_one_rate(groups, settings)
            if len(groups) == 1:
                arguments["split_groups"] = False  # it says so on standard output otherwise
            # Rounding at random, which only parameters in bf16 need, would draw from the global generator.
            make = partial(ProdigyPlusScheduleFree, stochastic_rounding=False)
        case "came":
            from pytorch_optimizer import CAME

            make = CAME
        case "schedule-free":
            from pytorch_optimizer import ScheduleFreeAdamW

            make = ScheduleFreeAdamW
        case _:
            make = _of_bitsandbytes(settings)
    return make(groups, **arguments)


def _of_bitsandbytes(settings: Train) -> Callable[..., torch.optim.Optimizer]:
    try:
        from bitsandbytes.optim import AdamW8bit, PagedAdamW, PagedAdamW8bit
    except ImportError:
        raise needs_bitsandbytes(settings) from None
    kinds = {"adamw8bit": AdamW8bit, "paged-adamw": PagedAdamW, "paged-adamw8bit": PagedAdamW8bit}
    return kinds[settings.optimizer]


def offload_between_steps(optimizer: torch.optim.Optimizer) -> None:
    """Keep the optimizer's state on the CPU, and move it to its parameters for each step."""

    def fetch(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for parameter, state in optimizer.state.items():
            _move(state, parameter.device)

    def put_away(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for state in optimizer.state.values():
            _move(state, torch.device("cpu"))

    optimizer.register_step_pre_hook(fetch)
    optimizer.register_step_post_hook(put_away)


def _move(state: dict[str, Any], device: torch.device) -> None:
    for name, value in state.items():
        if isinstance(value, Tensor) and value.dim():  # counts may stay
            state[name] = value.to(device)


def _require_one_rate(groups: list[dict[str, Any]], settings: Train) -> None:
    rates = sorted({group["lr"] for group in groups})
    if len(rates) > 1:
        raise VelaturaError(
            "train.optimizer = {optimizer} finds one learning rate for everything, but there are {count} "
            "({rates}): set no separate rate for the text encoder, the word, blocks or LoRA+",
            optimizer=settings.optimizer,
            count=len(rates),
            rates=", ".join(f"{rate:g}" for rate in rates),
        )


def learning_rate_factor(step: int, settings: Train) -> float:
    """Share of the peak learning rate at a step (0-based): linear warm-up, then the schedule."""
    if step < settings.warmup:
        return (step + 1) / (settings.warmup + 1)
    left = 1 - (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    factor = 1.0
    match settings.schedule:
        case "cosine":
            phase = settings.cycles * (1 - left)
            factor = 0.5 * (1 + math.cos(math.pi * (phase - min(int(phase), settings.cycles - 1))))
        case "linear":
            factor = left
        case "polynomial":
            factor = left**2
        case "rex":  # Chen et al. 2021 (arXiv 2107.04197), eq. 2
            factor = left / (1 - settings.rex_d + settings.rex_d * left)
    return settings.floor + (1 - settings.floor) * factor if settings.floor else factor


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, settings: Train) -> float:
    """Set every group's rate for this step, and return the factor."""
    factor = learning_rate_factor(step, settings)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return factor


def freeze_stopped(network: Network, config: Config, step: int) -> None:
    """Freeze parameters that stop training at this step: AdamW moves parameters even if their gradient is zero."""
    train, tokens = config.train, config.tokens
    if step >= tokens.stop * train.steps:
        for word in network.words:
            word.requires_grad_(False)
    if step >= train.text_encoder_stop * train.steps:
        for site in network.hook_points:
            if not is_denoiser(site.part):
                site.requires_grad_(False)
        for shared in network.shared_tensors:
            if not is_denoiser(shared.part):
                shared.values.requires_grad_(False)


def lower_learning_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Multiply the peak rate of every group, which checkpoints hold, by a share."""
    for group in optimizer.param_groups:
        group["peak_lr"] *= share


class MovingAverage:
    """An exponential moving average of θ: e ← d·e + (1 − d)·θ, with d warmed up as (1 + n) / (10 + n)."""

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.updates = 0
        self._live = dict(network.named_parameters())
        self.values = {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def begin_anew(self) -> None:
        """Forget all updates and set the average to θ."""
        self.updates = 0
        for name, parameter in self._live.items():
            self.values[name].copy_(parameter)

    @torch.no_grad()
    def update(self) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in self._live.items():
            self.values[name].lerp_(parameter, 1 - decay)

    def refresh(self) -> None:
        """Bring `values` up to date."""

    @contextmanager
    @torch.no_grad()
    def in_place(self) -> Iterator[None]:
        """The network with the averaged tensors, temporarily."""
        self.refresh()
        trained = {name: p.detach().clone() for name, p in self._live.items()}
        for name, parameter in self._live.items():
            parameter.copy_(self.values[name])
        try:
            yield
        finally:
            for name, parameter in self._live.items():
                parameter.copy_(trained[name])


class OptimizerAverage(MovingAverage):
    """The average of a schedule-free optimizer (Defazio et al. 2024, arXiv 2405.15682), in place of the last step.

    Without an optimizer, as in an export, it is that of the checkpoint.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer | None):
        super().__init__(network, 0.0)
        self._optimizer: Any = optimizer

    def update(self) -> None:
        """The optimizer has done it."""

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring `values` up to date; afterwards the parameters have the same bits as before.

        The optimizer's own way back from the average rounds, so that a run with previews would differ.
        """
        if self._optimizer is None:
            return
        trained = {name: p.detach().clone() for name, p in self._live.items()}
        self._optimizer.eval()
        self.begin_anew()
        self._optimizer.train()
        for name, parameter in self._live.items():
            parameter.copy_(trained[name])


@torch.no_grad()
def limit_norms(network: Network, most: float) -> None:
    """Scale the trained factors of each layer whose change has a larger Frobenius norm down to that norm.

    ΔW is linear in each of k factors, so each is multiplied by the k-th root of `most` / norm.
    """
    network.holder.context = ForwardContext()
    for site in network.sites:
        for placed in site.placed:
            change = placed.method.update(placed.theta, site)
            assert isinstance(change, LowRank | Hadamard | Kronecker)
            factors = [value for value in placed.module.parameters() if value.requires_grad]
            share = (most / change.norm()).clamp(max=1)
            for factor in factors:
                factor.mul_(share ** (1 / len(factors)))
