"""LoRA, and LoCon on convolutions.

    ΔW = s B A        B (out, r),  A (r, in·kh·kw),  s = α / r   (rsLoRA: α / √r)

A starts Kaiming-uniform and B at zero, so ΔW = 0 before the first step. On a convolution A is the k×k kernel, which
carries stride and padding, and B the 1×1 kernel after it.

With DoRA the changed weight is normalised per output row and given a learned length: W' = m (W + ΔW) / ‖W + ΔW‖, with
m starting at ‖W‖ and the norm outside the graph. LoRA+ lets B learn faster than A.

Hu et al. 2021 (arXiv 2106.09685); Yeh et al. 2023 (2309.14859) for convolutions; Kalajdzievski 2023 (2312.03732) for
rsLoRA; Liu et al. 2024 (2402.09353), eq. 5 and §4.3, for DoRA; Hayou et al. 2024 (2402.12354) for LoRA+.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from trainers.adapters.method import SETTINGS, Now, RankedMethod, Theta, kaiming, trains
from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank, Update, normalise


@dataclass(frozen=True, config=SETTINGS)
class LoRA(RankedMethod):
    """ΔW = (α / r) B A."""

    paper: ClassVar[str] = "arXiv 2106.09685"
    summary: ClassVar[str] = "Two thin matrices a layer: the plain, fast choice that every tool reads."

    name: Literal["lora"] = "lora"
    """The method."""
    rslora: bool = False
    """Scale by alpha / √rank, so that high ranks learn as fast as low ones."""
    dora: bool = False
    """Also learn the length of each output row (DoRA): closer to full fine-tuning, slower, a much larger file."""
    plus_ratio: float = Field(default=1.0, ge=1, le=64)
    """LoRA+: how many times faster B learns than A; 1 = off."""

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def with_rank(self, rank: int) -> LoRA:
        factor = rank / self.rank
        return replace(self, rank=rank, alpha=self.alpha * (math.sqrt(factor) if self.rslora else factor))

    @property
    def file_algorithm(self) -> str:
        return "full" if self.dora else "lora"  # tools read magnitudes differently: the whole change is written

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        theta: dict[str, Tensor] = {
            "A": trains(kaiming(draw, self.rank, site.op.fan_in)),
            "B": trains(torch.zeros(site.op.out, self.rank)),
        }
        if self.dora:
            theta["m"] = trains(site.weight().float().flatten(1).norm(dim=1))
        return theta

    def update(self, theta: Theta, site: Site, shared: Theta, now: Now) -> Update:
        gate = self.rank_gate(site, now, self.rank, theta["A"].device)
        low = LowRank(self.scale * theta["B"], theta["A"], site.op.shape, gate)
        return normalise(low, theta["m"], site.weight()) if self.dora else low

    def learning_rate_ratio(self, name: str) -> float:
        return self.plus_ratio if name == "B" else 1.0
