"""LoHA: a Hadamard (element-wise) product of two low-rank matrices.

    ΔW = s (B₁ A₁) ⊙ (B₂ A₂)        B (out, r),  A (r, in·kh·kw),  s = α / r

Its rank can reach r² with the parameters of a LoRA of rank 2r. B₂ starts at zero and the others normal (B₁ with
σ = 0.1, A₁ and A₂ with σ = 1), so ΔW = 0 before the first step, and only B₂ has a gradient in it.

Tucker form of a k×k convolution: A = T ×₂ D with a core T (r, r, kh, kw), σ = 0.1, and D (r, in). It has fewer
parameters; a file holds the flat A.

Hyeon-Woo et al. 2021 (FedPara, arXiv 2108.06098), Prop. 1–3; Yeh et al. 2023 (LyCORIS, 2309.14859).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, Stored
from trainers.adapters.method import SETTINGS, RankedMethod, Theta, idle
from trainers.adapters.methods.initial import normal, tucker, uses_tucker
from trainers.adapters.site import Site
from trainers.adapters.updates import Hadamard, LowRank
from trainers.adapters.updates.tensors import times


@dataclass(frozen=True, config=SETTINGS)
class LoHA(RankedMethod):
    """ΔW = (α / r) (B₁ A₁) ⊙ (B₂ A₂)."""

    about: ClassVar[About] = About(
        title="LoHA",
        summary="Rank r² for the price of 2r: gentle, keeps prompts flexible, needs more steps.",
        good_at="Gentle: prompts stay flexible. Good at soft colour and mood; needs more steps.",
        paper="arXiv 2108.06098, 2309.14859",
        parameters="2 r (in k² + out)",
        opens_in="second-file",
        group="first",
        formula="hadamard",
        stored=Stored("loha", "loha"),
    )

    name: Literal["loha"] = "loha"
    """The method."""
    rank: int = Field(default=8, ge=1, le=256)
    """Rank r of each of the two products; together they reach r²."""
    alpha: float = Field(default=4.0, gt=0, le=4096)
    """Scale: the update is multiplied by alpha / rank."""
    tucker: bool = False
    """Tucker decomposition of k×k kernels: a smaller file if convolutions are trained."""

    @property
    def is_multilinear(self) -> bool:
        return True

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        theta: dict[str, Tensor] = {}
        op, r = site.op, self.rank
        for side, std in (("1", 0.1), ("2", 0.0)):
            theta["B" + side] = nn.Parameter(normal(draw, std, op.out, r))
            if uses_tucker(site, self.tucker):
                theta["T" + side] = nn.Parameter(normal(draw, 0.1, r, r, *op.shape[2:]))
                theta["D" + side] = nn.Parameter(normal(draw, 1.0, r, op.shape[1]))
            else:
                theta["A" + side] = nn.Parameter(normal(draw, 1.0, r, op.fan_in))
        return theta

    def validate_targets(self, sites: Sequence[Site]) -> str | None:
        return idle("method.tucker") if self.tucker and not any(uses_tucker(site, True) for site in sites) else None

    def update(self, theta: Theta, site: Site) -> Hadamard:
        def down(side: str) -> Tensor:
            return theta["A" + side] if "A" + side in theta else tucker(theta["T" + side], theta["D" + side])

        gate = self.rank_gate(site, self.rank, theta["B1"].device)
        left = LowRank(times(self.scale, theta["B1"]), down("1"), site.op.shape, gate)
        return Hadamard(left, LowRank(theta["B2"], down("2"), site.op.shape))
