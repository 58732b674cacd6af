"""K-LoRA: layer by layer and step by step either the content or the style, without training.

    c = Σ of the K largest |ΔW_c|,  s = Σ of the K largest |ΔW_s|,  K = r_c r_s        of each layer
    γ = mean over layers of Σ|ΔW_c| / Σ|ΔW_s|, without those beyond 3 times their median
    S = α t/T + β        at step t = 0 … T − 1;  α = 1.5, β = 0.5

    the layer is the content's while  c/γ > S s,  then the style's

so each layer turns once, at S = c / (γ s), and the style comes late. γ takes out how strong each was trained, and with
it the strengths: these say how much of a change is applied, not which. Only layers of the UNet that both change have to
choose; the text encoders, which know no steps, read the prompt under both. Ouyang et al. 2025 (arXiv 2502.18461).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import torch
from torch import Tensor

from trainers.adapters.context import ForwardContext
from trainers.adapters.method import LayerUpdate, Theta
from trainers.adapters.site import Site
from trainers.adapters.updates import Update

BETA = 0.5
FARTHEST = 3.0
"""Times the median beyond which a layer's ratio is left out of γ."""


@dataclass(frozen=True, eq=False)
class KLoRA(LayerUpdate):
    """Two loaded styles of which each layer has one, the content first; θ are the factors of both, frozen."""

    updates: Mapping[str, tuple[Update, Update]]
    """The changes of content and style by site name, the strengths in them."""
    turns: Mapping[str, float]
    """S at which each layer turns to the style."""
    steps: int
    """T."""
    alpha: float
    """α."""

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        pair = enumerate(self.updates[site.name])
        return {f"{number}/{name}": tensor for number, one in pair for name, tensor in one.tensors().items()}

    def update(self, theta: Theta, site: Site, shared: Theta, context: ForwardContext) -> Update:
        S = self.alpha * context.step / self.steps + BETA
        number = int(self.turns[site.name] <= S)
        own = f"{number}/"
        tensors = {name.removeprefix(own): tensor for name, tensor in theta.items() if name.startswith(own)}
        return self.updates[site.name][number].with_tensors(tensors)


def turning_points(content: Sequence[Tensor], style: Sequence[Tensor], counts: Sequence[int]) -> list[float]:
    """S = c / (γ s) of each layer from both changes ΔW and K; infinite where the style does nothing."""
    wholes = [(c.abs().sum().item(), s.abs().sum().item()) for c, s in zip(content, style, strict=True)]
    γ = balance([c / s for c, s in wholes if s])
    found = []
    for ΔW_c, ΔW_s, K in zip(content, style, counts, strict=True):
        c, s = largest(ΔW_c, K), largest(ΔW_s, K)
        found.append(c / (γ * s) if s else math.inf)
    return found


def balance(ratios: Sequence[float]) -> float:
    """γ: the mean of the layers' ratios, without those far above the others."""
    kept = [ratio for ratio in ratios if ratio <= FARTHEST * median(ratios)]
    return fmean(kept) or 1.0 if kept else 1.0


def largest(change: Tensor, count: int) -> float:
    """The sum of so many of the largest |entries|, of all where there are fewer."""
    sizes = change.abs().flatten()
    return sizes.topk(min(count, len(sizes))).values.sum().item()


def rank_of(update: Update) -> int:
    """The rank of a change, at most that of any matrix of its shape."""
    low = update.low_rank()
    return update.rank_bound if low is None else low.rank_bound
