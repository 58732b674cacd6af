"""SoRA: a LoRA with a gate on every component; a proximal step closes gates that are not needed.

    ΔW = s B diag(g) A        B (out, r),  A (r, in·kh·kw),  g (r,),  s = α / r

After each optimizer step g ← T_ξ(g), with the soft threshold T_ξ(x) = sign(x)·max(|x| − ξ, 0): the proximal step of an
L1 penalty, ξ = η·λ. Here `shrink` is the sum of all ξ: ξ_t = shrink · w_t / Σ w, where w follows the learning rate and
rises from zero over `ramp` of the steps. So a gate without gradients closes if it starts below `shrink`. w rises
continuously, or in `levels`, so that the rest adapts to each before the next (algorithm 1).

A starts Kaiming-uniform, B at zero, and g N(0, 1) or at 1, so ΔW = 0 before the first step. Components with a closed
gate are omitted from the file, also where a moving average of g is not zero yet.

Ding et al. 2023 (arXiv 2311.11696), eq. 3–6 and algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, RankInfo
from trainers.adapters.hooks import Step, TrainingHooks
from trainers.adapters.method import SETTINGS, RankedMethod, Theta
from trainers.adapters.methods.initial import kaiming, normal
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank
from trainers.adapters.updates.tensors import times
from trainers.messages import Message

if TYPE_CHECKING:
    from trainers.adapters.network import Network


@checked_dataclass(frozen=True, config=SETTINGS)
class SoRA(RankedMethod):
    """ΔW = (α / r) B diag(g) A."""

    about: ClassVar[About] = About(
        title="SoRA",
        summary="Closes ranks that do not help: a smaller file with the same pictures.",
        good_at="Closes ranks that do not help during training: a smaller file.",
        paper="arXiv 2311.11696",
        parameters="r (in k² + out + 1)",
        group="like-lora",
        ranks=RankInfo(),
    )

    moves_after_optimizer: ClassVar[bool] = True
    bounds_rank: ClassVar[bool] = True

    name: Literal["sora"] = "sora"
    """The method."""
    shrink: float = Field(default=0.7, gt=0, le=100)
    """Total shrinkage of a gate over all proximal steps; more closes more of the rank."""
    ramp: float = Field(default=0.5, ge=0, le=1)
    """Share of the steps over which the proximal steps grow from zero to full size."""
    levels: int = Field(default=0, ge=0, le=100)
    """Number of equally long levels by which they grow (six in the paper); 0 = continuously."""
    gate_ratio: float = Field(default=10.0, gt=0, le=1000)
    """Ratio of the gates' learning rate to the factors'; if too high, Adam reopens closed gates."""
    gate_initial: Literal["one", "normal"] = "normal"
    """Initial gates: N(0, 1) as in the paper, or all one, which needs a `shrink` of about 1 to close any."""

    @model_validator(mode="after")
    def _grows(self) -> SoRA:
        if self.levels and not self.ramp:
            raise ValueError(Message("levels = {levels} has no effect with ramp = 0", levels=self.levels))
        return self

    @property
    def hooks(self) -> SoRAHooks:
        return SoRAHooks(self)

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        return {
            "A": nn.Parameter(kaiming(draw, self.rank, site.op.fan_in)),
            "B": nn.Parameter(torch.zeros(site.op.out, self.rank)),
            "g": nn.Parameter(torch.ones(self.rank) if self.gate_initial == "one" else normal(draw, 1.0, self.rank)),
            "open": torch.ones(self.rank),
        }

    def update(self, theta: Theta, site: Site) -> LowRank:
        A, B, g = (theta[name] for name in ("A", "B", "g"))
        if not site.context.training:
            used = (g != 0) & (theta["open"] != 0)
            return LowRank(self.scale * B[:, used] * g[used], A[used], site.op.shape)
        kept = self.rank_gate(site, self.rank, g.device)
        return LowRank(times(self.scale, B), A, site.op.shape, g if kept is None else g * kept)

    def learning_rate_ratio(self, name: str) -> float:
        return self.gate_ratio if name == "g" else 1.0

    def decays(self, name: str) -> bool:
        return name != "g"


@dataclass(frozen=True)
class SoRAHooks(TrainingHooks):
    """The proximal step on the gates."""

    method: SoRA

    def rank_of(self, theta: Theta) -> int:
        return int((theta["g"] != 0).sum())

    @torch.no_grad()
    def after_step(self, network: Network, step: Step) -> None:
        threshold = self.threshold(step)
        for _, placed in network.learned_by(self.method):
            theta = placed.theta
            theta["g"].copy_(soft_threshold(theta["g"], threshold))
            theta["open"].copy_(theta["g"] != 0)

    def threshold(self, step: Step) -> float:
        """ξ of a step; the sum over all steps is `shrink`."""
        rising = max(1.0, self.method.ramp * step.of)
        rises = (min(1.0, (number + 1) / rising) for number in range(len(step.rates)))
        if self.method.levels:
            rises = (floor(rise * self.method.levels) / self.method.levels for rise in rises)
        weights = [rate * rise for rate, rise in zip(step.rates, rises, strict=True)]
        return self.method.shrink * weights[step.number] / (sum(weights) or 1.0)


def soft_threshold(x: Tensor, threshold: float) -> Tensor:
    """T_ξ(x) = sign(x)·max(|x| − ξ, 0)."""
    return x.sign() * (x.abs() - threshold).clamp(min=0)
