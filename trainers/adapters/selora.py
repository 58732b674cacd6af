"""SeLoRA: a LoRA that starts at rank 1 and grows where the Fisher information says that a larger rank would help.

    ΔW = s B[:, :n] A[:n]        B (out, r),  A (r, in·kh·kw),  n the layer's rank so far,  s = α

Every `interval` steps each layer is tried with one component more, whose B is zero, so the function is unchanged. With
FI(θ) = Σ g² over the step's gradient g, the layer grows where FI(grown) / FI(as it is) ≥ λ. The new row of A has no
gradient while its B is zero, so FI(grown) = FI(as it is) + ‖∂L/∂B_new‖²: the step's own backward pass tells it, and
the ratio costs one product of rank 1. The component that was tried is the one that is kept. s is the same for every n.

All r components are there from the start, A Kaiming-uniform and B at zero; those not grown yet take no part and have no
gradient, and those that were there keep the optimizer's state. ΔW = 0 before the first step.

Mao et al. 2024 (arXiv 2408.07196), §3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from trainers.adapters.initial import kaiming
from trainers.adapters.method import SETTINGS, Now, RankedMethod, Step, Theta, trains
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank

if TYPE_CHECKING:
    from trainers.adapters.network import Network


@dataclass(frozen=True, config=SETTINGS)
class SeLoRA(RankedMethod):
    """ΔW = α B[:, :n] A[:n] with a rank n that grows."""

    paper: ClassVar[str] = "arXiv 2408.07196"
    summary: ClassVar[str] = "Starts at rank 1 and grows only the layers that ask for more."

    name: Literal["selora"] = "selora"
    """The method."""
    rank: int = Field(default=16, ge=1, le=256)
    """The largest rank that a layer may grow to."""
    alpha: float = Field(default=8.0, gt=0, le=4096)
    """The update is scaled by alpha, at every rank."""
    threshold: float = Field(default=1.3, ge=1, le=100)
    """λ: a layer grows where its Fisher information would grow by this factor."""
    interval: int = Field(default=40, ge=1, le=10_000)
    """Steps from one trial to the next."""
    budget: int = Field(default=0, ge=0)
    """The largest sum of all layers' ranks; 0 = no limit. Layers with the highest ratio come first."""

    @property
    def scale(self) -> float:
        return self.alpha

    def with_rank(self, rank: int) -> SeLoRA:
        return replace(self, rank=rank)

    @property
    def file_alpha(self) -> float:
        return self.alpha

    @property
    def file_rank(self) -> int:
        return self.rank

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        theta: dict[str, Tensor] = {"grown": torch.tensor(1)}
        for n in range(self.rank):
            theta[f"A{n}"] = trains(kaiming(draw, 1, site.op.fan_in))
            theta[f"B{n}"] = trains(torch.zeros(site.op.out, 1))
        return theta

    def update(self, theta: Theta, site: Site, shared: Theta, now: Now) -> LowRank:
        used = int(theta["grown"])
        if now.training and self.tries(theta, now.step):
            used += 1
        up, down = (torch.cat([theta[f"{x}{n}"] for n in range(used)], dim) for x, dim in (("B", 1), ("A", 0)))
        return LowRank(self.scale * up, down, site.op.shape, self.rank_gate(site, now, used, up.device))

    def tries(self, theta: Theta, step: int) -> bool:
        """Whether a layer is tried with one component more in this step."""
        return step > 0 and step % self.interval == 0 and int(theta["grown"]) < self.rank

    def rank_of(self, theta: Theta) -> int:
        return int(theta["grown"])

    @torch.no_grad()
    def after_backward(self, network: Network, step: Step) -> None:
        every = [placed.values() for _, placed in network.placed_by(self)]
        tried = [theta for theta in every if self.tries(theta, step.number)]
        ratios = [fisher_ratio(theta) for theta in tried]
        for theta in tried:  # what was tried takes no step yet: growing does not move the function
            n = int(theta["grown"])
            theta[f"A{n}"].grad = theta[f"B{n}"].grad = None
        room = self.budget - sum(int(theta["grown"]) for theta in every) if self.budget else len(tried)
        wanting = [i for i, ratio in enumerate(ratios) if ratio >= self.threshold]
        for i in sorted(wanting, key=lambda i: -ratios[i])[: max(0, room)]:
            tried[i]["grown"].add_(1)


def fisher_ratio(theta: Theta) -> float:
    """FI(grown) / FI(as it is) of a layer that is tried with one component more; 1 where it has no gradient."""
    n = int(theta["grown"])
    own = sum(_information(theta[f"{factor}{k}"]) for factor in "AB" for k in range(n))
    return 1 + _information(theta[f"B{n}"]) / own if own else 1.0


def _information(parameter: Tensor) -> float:
    """Σ g²; nothing where module dropout left the layer out."""
    return 0.0 if parameter.grad is None else float(parameter.grad.square().sum())
