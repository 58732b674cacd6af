"""SeLoRA: a LoRA that starts at rank 1 and grows where the Fisher information predicts a benefit.

    ΔW = s Σ_{i grown} bᵢ aᵢ        bᵢ (out, 1),  aᵢ (1, in·kh·kw),  s = α

Every `interval` steps after the learning rate's warm-up, each layer tries one more component; its b is zero, so the
function is unchanged. With FI(θ) = Σ g² over a step's gradient g, the layer grows if FI(with it) / FI(without it) ≥ λ,
both summed over `trial` steps. The new a has no gradient while its b is zero, so FI(with it) = FI(without it) +
‖∂L/∂b‖²: the step's backward pass gives both, and a trial costs one product of rank 1. A layer that grows keeps the
component it tried; if it does not grow, the next trial takes another one. s is the same for every rank.

All r components exist from the start, a Kaiming-uniform and b at zero. Unused ones are left out and have no gradient;
grown ones keep their optimizer state. ΔW = 0 before the first step. a is U(±√(6 / in)), Kaiming-uniform with slope 0 as
in the authors' code, whose learning rates assume it; LoRA's slope of √5 gives U(±√(1 / in)).

Mao et al. 2024 (arXiv 2408.07196), §3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, FileForm, RankInfo
from trainers.adapters.budget import BudgetedHooks, BudgetedMethod
from trainers.adapters.hooks import Step
from trainers.adapters.method import SETTINGS, Theta
from trainers.adapters.methods.initial import uniform
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank
from trainers.adapters.updates.tensors import times
from trainers.messages import Message

if TYPE_CHECKING:
    from trainers.adapters.network import Network

UNUSED, GROWN, TRIED = 0, 1, 2
"""Use of a component: none yet, in the update, or on trial in this step."""


@checked_dataclass(frozen=True, config=SETTINGS)
class SeLoRA(BudgetedMethod):
    """ΔW = α Σ bᵢ aᵢ over a growing number of components."""

    about: ClassVar[About] = About(
        title="SeLoRA",
        summary="Starts at rank 1 and grows only the layers that need more.",
        good_at="Starts as small as possible and grows only where it helps.",
        paper="arXiv 2408.07196",
        parameters="r (in k² + out)",
        group="like-lora",
        ranks=RankInfo(),
    )
    compiles: ClassVar[bool] = False

    bounds_rank: ClassVar[bool] = True

    name: Literal["selora"] = "selora"
    """The method."""
    rank: int = Field(default=16, ge=1, le=256)
    """Maximum rank of a layer."""
    alpha: float = Field(default=8.0, gt=0, le=4096)
    """Scale: the update is multiplied by alpha, at every rank."""
    threshold: float = Field(default=1.3, ge=1, le=100)
    """λ: a layer grows if its Fisher information would increase by this factor."""
    interval: int = Field(default=40, ge=1, le=10_000)
    """Steps between trials."""
    trial: int = Field(default=1, ge=1, le=100)
    """Steps over which a trial sums the Fisher information; more steps use more images."""
    budget: int = Field(default=0, ge=0)
    """Maximum sum of all layers' ranks; layers with the highest ratio come first. 0 = no limit."""
    start_bound: Literal["sqrt(6/in)", "sqrt(1/in)"] = "sqrt(6/in)"
    """Initial bound of a new component's a: Kaiming with slope 0, as in the authors' code, or LoRA's."""

    @model_validator(mode="after")
    def _fits(self) -> SeLoRA:
        if self.trial > self.interval:
            raise ValueError(
                Message(
                    "trial = {trial} is longer than interval = {interval}", trial=self.trial, interval=self.interval
                )
            )
        if self.budget_scope == "rank" and not self.budget:
            raise ValueError(Message("budget_scope has no effect without budget"))
        return self

    @property
    def scale(self) -> float:
        return self.alpha

    def with_rank(self, rank: int) -> SeLoRA:
        return replace(self, rank=rank)

    def file_form(self) -> FileForm:
        return FileForm(rank=self.rank, alpha=self.alpha)

    def validate_targets(self, sites: Sequence[Site]) -> str | None:
        if self.budget_scope == "rank":
            sites = [site for site in sites if any(placed.method == self for placed in site.placed)]
        if not 0 < self.budget <= len(sites):
            return None
        return (
            f"method.budget = {self.budget} leaves no room to grow: each of the {len(sites)} layers starts at rank 1; "
            "set more than that, or 0 for no limit"
        )

    @property
    def hooks(self) -> SeLoRAHooks:
        return SeLoRAHooks(self)

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        use = torch.zeros(self.rank, dtype=torch.int8)  # counts, which stay on the CPU
        use[0] = GROWN
        theta: dict[str, Tensor] = {"use": use, "information": torch.zeros(2)}
        bound = (1.0 if self.start_bound == "sqrt(1/in)" else math.sqrt(6)) / math.sqrt(site.op.fan_in)
        for n in range(self.rank):
            theta[f"A{n}"] = nn.Parameter(uniform(draw, bound, 1, site.op.fan_in))
            theta[f"B{n}"] = nn.Parameter(torch.zeros(site.op.out, 1))
        return theta

    def update(self, theta: Theta, site: Site) -> LowRank:
        used = [
            n for n, use in enumerate(theta["use"].tolist()) if use == GROWN or (use == TRIED and site.context.training)
        ]
        A = torch.cat([theta["A0"][:0], *(theta[f"A{n}"] for n in used)])  # (n, in·kh·kw)
        B = torch.cat([theta["B0"][:, :0], *(theta[f"B{n}"] for n in used)], 1)  # (out, n)
        return LowRank(times(self.scale, B), A, site.op.shape, self.rank_gate(site, len(used), A.device))


@dataclass(frozen=True)
class SeLoRAHooks(BudgetedHooks[SeLoRA]):
    """Trials, and the growth after them."""

    def rank_of(self, theta: Theta) -> int:
        return int((theta["use"] == GROWN).sum())

    def grow_to_max(self, network: Network) -> None:
        if not self.leads(network):
            return
        budgeted = self.budgeted(network)
        room = self.method.budget - len(budgeted) if self.method.budget else None
        for use in [use for theta in budgeted for use in theta["use"][1:]][:room]:  # views of single numbers
            use.fill_(GROWN)

    @torch.no_grad()
    def begin_step(self, network: Network, step: Step) -> None:
        """Begin or continue a trial, if one is due."""
        until = -step.number % self.method.interval  # steps until the last of a trial
        for _, placed in network.placed_by(self.method):
            theta = placed.theta
            theta["use"][theta["use"] == TRIED] = UNUSED
        last = step.number + until
        if until >= self.method.trial or last == 0 or last - self.method.trial + 1 < _warmup_end(step):
            return
        for _, placed in network.learned_by(self.method):
            theta = placed.theta
            if until == self.method.trial - 1:
                theta["information"].zero_()
            free = (theta["use"] == UNUSED).nonzero().flatten().tolist()
            if free:
                theta["use"][free[last // self.method.interval % len(free)]] = TRIED

    @torch.no_grad()
    def after_backward(self, network: Network, step: Step) -> None:
        if not self.leads(network):
            return
        budgeted = self.budgeted(network)
        on_trial = [(theta, uses.index(TRIED)) for theta in budgeted if TRIED in (uses := theta["use"].tolist())]
        information = fisher_information([theta for theta, _ in on_trial])
        for (theta, n), values in zip(on_trial, information, strict=True):
            theta["information"].add_(theta["information"].new_tensor(values))
            theta[f"A{n}"].grad = theta[f"B{n}"].grad = None  # not stepped: growing keeps the function
        if step.number % self.method.interval or not on_trial:
            return
        ratios = fisher_ratios([theta for theta, _ in on_trial])
        room = self.method.budget - sum(map(self.rank_of, budgeted)) if self.method.budget else len(on_trial)
        growing = [i for i, ratio in enumerate(ratios) if ratio >= self.method.threshold]
        for i in sorted(growing, key=lambda i: -ratios[i])[: max(0, room)]:
            theta, n = on_trial[i]
            theta["use"][n] = GROWN


def fisher_information(thetas: Sequence[Theta]) -> list[tuple[float, float]]:
    """FI of each layer without the component on trial, and that component's FI, in one read from the device."""
    gradients = [
        (layer, use, gradient)
        for layer, theta in enumerate(thetas)
        for factor in "AB"
        for n, use in enumerate(theta["use"].tolist())
        if use != UNUSED and (gradient := theta[f"{factor}{n}"].grad) is not None  # module dropout left the layer out
    ]
    squares = torch.stack([g.square().sum() for _, _, g in gradients]).tolist() if gradients else []
    information = [[0.0, 0.0] for _ in thetas]
    for (layer, use, _), square in zip(gradients, squares, strict=True):
        information[layer][use == TRIED] += square
    return [(old, new) for old, new in information]


def fisher_ratios(thetas: Sequence[Theta]) -> list[float]:
    """FI(with it) / FI(without it) of layers with a component on trial; 1 for layers without gradient."""
    return [1 + new / old if old else 1.0 for old, new in torch.stack([t["information"] for t in thetas]).tolist()]


def _warmup_end(step: Step) -> int:
    """The first step with the peak learning rate."""
    return step.rates.index(max(step.rates)) if step.rates else 0
