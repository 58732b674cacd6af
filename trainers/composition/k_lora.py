"""K-LoRA: selects the content or the style per layer and step, without training.

    c = Σ of the K largest |ΔW_c|,  s = Σ of the K largest |ΔW_s|,  K = r_c r_s        of each layer
    γ = mean over layers of Σ|ΔW_c| / Σ|ΔW_s|, without ratios above 3 times their median
    S = α t/T + β        at step t = 0 … T − 1;  α = 1.5, β = 0.5

    a layer uses the content while  c/γ > S s,  then the style

Each layer switches once, at S = c / (γ s), and the style acts late. γ cancels how strongly each was trained, and so the
strengths, which scale a change but do not affect the choice. UNet layers that both change choose; the text encoders,
which have no steps, use both. Ouyang et al. 2025 (arXiv 2502.18461).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import torch
from torch import Tensor

from trainers.adapters.method import LayerUpdate, Theta
from trainers.adapters.site import Site
from trainers.adapters.updates import Update

BETA = 0.5
FARTHEST = 3.0
"""Multiple of the median above which a layer's ratio is excluded from γ."""


@dataclass(frozen=True, eq=False)
class KLoRA(LayerUpdate):
    """Two loaded styles; each layer uses one, first the content. θ are the frozen factors of both."""

    updates: Mapping[str, tuple[Update, Update]]
    """Changes of content and style by site name, with the strengths included."""
    turns: Mapping[str, float]
    """S at which each layer switches to the style."""
    steps: int
    """T."""
    alpha: float
    """α."""

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        pair = enumerate(self.updates[site.name])
        return {f"{number}/{name}": tensor for number, update in pair for name, tensor in update.tensors().items()}

    def update(self, theta: Theta, site: Site) -> Update:
        S = self.alpha * site.context.step / self.steps + BETA
        number = int(self.turns[site.name] <= S)
        prefix = f"{number}/"
        tensors = {name.removeprefix(prefix): tensor for name, tensor in theta.items() if name.startswith(prefix)}
        return self.updates[site.name][number].with_tensors(tensors)


def turning_points(content: Sequence[Tensor], style: Sequence[Tensor], counts: Sequence[int]) -> list[float]:
    """S = c / (γ s) of each layer from both changes ΔW and K; infinite if the style's change is zero."""
    sums = [(c.abs().sum().item(), s.abs().sum().item()) for c, s in zip(content, style, strict=True)]
    γ = balance([c / s for c, s in sums if s])
    points = []
    for ΔW_c, ΔW_s, K in zip(content, style, counts, strict=True):
        c, s = largest(ΔW_c, K), largest(ΔW_s, K)
        points.append(c / (γ * s) if s else math.inf)
    return points


def balance(ratios: Sequence[float]) -> float:
    """γ: the mean of the layers' ratios without outliers; 1 if there are none."""
    kept = [ratio for ratio in ratios if ratio <= FARTHEST * median(ratios)]
    return fmean(kept) or 1.0 if kept else 1.0


def largest(change: Tensor, count: int) -> float:
    """The sum of the `count` largest |entries|, or of all if there are fewer."""
    sizes = change.abs().flatten()
    return sizes.topk(min(count, len(sizes))).values.sum().item()


def rank_of(update: Update) -> int:
    """The rank of a change, at most full rank."""
    low = update.low_rank()
    return update.rank_bound if low is None else low.rank_bound
