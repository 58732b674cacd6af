"""LoKr: a Kronecker product of a small matrix and a large one, the large one full or low rank.

    ΔW = s C ⊗ W₂        C (u_out, u_in),  W₂ (v_out, v_in[, kh, kw]),  u·v = out and in,  s = α / r
    W₂ full, or W₂ = B A with B (v_out, r), A (r, v_in·kh·kw), or its Tucker form A = T ×₂ D

Its rank is rank(C)·rank(W₂). C starts Kaiming-uniform and W₂ (or B) at zero, so ΔW = 0 before the first step. W₂ is
full if r ≥ max(v)/2, where two factors would not be smaller. With `decompose_both` C is a product too, C = C_b C_a, if
r < max(u)/2. s is always α / r; in files it is folded into the first factor, because tools disagree about alpha if both
factors are full.

Yeh et al. 2023 (LyCORIS, arXiv 2309.14859), §3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, Stored
from trainers.adapters.method import SETTINGS, RankedMethod, Theta, idle
from trainers.adapters.methods.initial import factorise, kaiming, tucker, uses_tucker
from trainers.adapters.site import Site
from trainers.adapters.updates import Kronecker, LowRank
from trainers.adapters.updates.tensors import times
from trainers.messages import Message


@dataclass(frozen=True, config=SETTINGS)
class LoKr(RankedMethod):
    """ΔW = (α / r) C ⊗ W₂."""

    about: ClassVar[About] = About(
        title="LoKr",
        summary="A Kronecker product: close to full fine-tuning with a low factor, tiny files with a high one.",
        good_at="Close to training the whole model. Good at strong brushwork, or at tiny files.",
        paper="arXiv 2309.14859",
        parameters="u_out u_in + v_out v_in k²",
        opens_in="second-file",
        group="first",
        formula="kronecker",
        stored=Stored("lokr", "lokr"),
    )

    name: Literal["lokr"] = "lokr"
    """The method."""
    rank: int = Field(default=16, ge=1, le=1024)
    """Rank r of the large factor if it is low-rank; if it is full, only part of the scale alpha / rank."""
    full_matrix: bool = True
    """Keep the large factor full instead of low-rank."""
    factor: int = Field(default=8, ge=-1, le=512)
    """Size of the small factor: low = large, faithful files; high = small files; -1 = as square as possible."""
    paper_split: bool = False
    """Split widths as in the paper (u at most the square root of the width) instead of as in LyCORIS."""
    decompose_both: bool = False
    """Make the small factor low-rank too if that is smaller."""
    tucker: bool = False
    """Tucker decomposition of k×k kernels if the large factor is low-rank."""

    @field_validator("factor")
    @classmethod
    def _splits(cls, factor: int) -> int:
        if factor in (0, 1):
            raise ValueError(Message("must be -1 or at least 2"))
        return factor

    @model_validator(mode="after")
    def _has_effect(self) -> LoKr:
        if self.full_matrix and (self.rank_dropout or self.tucker):
            raise ValueError(
                Message(
                    "rank_dropout and tucker need full_matrix = false: a full factor has neither a rank to drop nor a "
                    "Tucker core"
                )
            )
        return self

    @property
    def no_rank_reason(self) -> str:
        return "method.full_matrix = true" if self.full_matrix else ""

    def shapes(self, site: Site) -> tuple[tuple[int, int], tuple[int, int]]:
        """`((u_out, u_in), (v_out, v_in))` of a site."""
        u_out, v_out = factorise(site.op.shape[0], self.factor, self.paper_split)
        u_in, v_in = factorise(site.op.shape[1], self.factor, self.paper_split)
        return (u_out, u_in), (v_out, v_in)

    @property
    def is_multilinear(self) -> bool:
        return True

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        u, v = self.shapes(site)
        kernel, r = site.op.shape[2:], self.rank
        theta: dict[str, Tensor] = {}
        if self.decompose_both and r < max(u) / 2:
            theta |= {"Cb": nn.Parameter(kaiming(draw, u[0], r)), "Ca": nn.Parameter(kaiming(draw, r, u[1]))}
        else:
            theta["C"] = nn.Parameter(kaiming(draw, *u))
        if self._is_full(v):
            return theta | {"W2": nn.Parameter(torch.zeros(*v, *kernel))}
        theta["B"] = nn.Parameter(torch.zeros(v[0], r))
        if uses_tucker(site, self.tucker):
            return theta | {"T": nn.Parameter(kaiming(draw, r, r, *kernel)), "D": nn.Parameter(kaiming(draw, r, v[1]))}
        return theta | {"A": nn.Parameter(kaiming(draw, r, v[1] * math.prod(kernel)))}

    def validate_targets(self, sites: Sequence[Site]) -> str | None:
        """Error message for the first setting that no site is small or large enough for."""
        if self.paper_split and all(replace(self, paper_split=False).shapes(s) == self.shapes(s) for s in sites):
            return idle("method.paper_split")
        low = [site for site in sites if not self._is_full(self.shapes(site)[1])]
        if self.decompose_both and not any(self.rank < max(self.shapes(site)[0]) / 2 for site in sites):
            return idle("method.decompose_both")
        if self.rank_dropout and not low:
            return idle("method.rank_dropout")
        return idle("method.tucker") if self.tucker and not any(uses_tucker(site, True) for site in low) else None

    def _is_full(self, v: tuple[int, int]) -> bool:
        return self.full_matrix or self.rank >= max(v) / 2

    def update(self, theta: Theta, site: Site) -> Kronecker:
        C = theta["C"] if "C" in theta else theta["Cb"] @ theta["Ca"]
        if "W2" in theta:
            return Kronecker(times(self.scale, C), theta["W2"], site.op.shape)
        A = theta["A"] if "A" in theta else tucker(theta["T"], theta["D"])
        _, v = self.shapes(site)
        gate = self.rank_gate(site, self.rank, A.device)
        return Kronecker(times(self.scale, C), LowRank(theta["B"], A, (*v, *site.op.shape[2:]), gate), site.op.shape)
