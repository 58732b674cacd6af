"""OFT and BOFT: the outputs of a layer are turned, which keeps the angles between its neurons.

    ΔW = (R − I) W,    R = R_m … R_1,    R_i = P_iᵀ blockdiag(R_i1 … R_i(out/b)) P_i,    R_ij = (I + Q)(I − Q)⁻¹

with every skew Q (b, b) = 0 at the start. OFT has one factor and no permutation (m = 1, P = I): channels turn within
blocks of b neighbours. BOFT has m = log₂(out/b) + 1 factors, the i-th over channels 2ⁱ b / 2 apart (a butterfly), so
that every channel meets every other with few numbers. Half of a skew Q is trained: m · out · (b − 1) / 2 numbers.

With a constraint ε (COFT), ‖Q‖ of each block is held at most ε. R is solved for in fp32, not approximated by a series.

Qiu et al. 2023 (arXiv 2306.07280) for OFT and COFT; Liu et al. 2023 (2311.06243) for BOFT. Both turn what a
neuron reads; this one, as the tools for style files do, turns what it gives, which needs no change to the next layer.
"""

from __future__ import annotations

from math import isqrt
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from trainers.adapters.method import SETTINGS, LayerMethod, Now, Theta, trains
from trainers.adapters.site import Site
from trainers.adapters.updates.rotation import Rotation, butterfly_block, divisors


@dataclass(frozen=True, config=SETTINGS)
class OFT(LayerMethod):
    """ΔW = (R − I) W."""

    paper: ClassVar[str] = "arXiv 2306.07280, 2311.06243"
    parameters: ClassVar[str] = "out (b − 1) / 2"
    summary: ClassVar[str] = "Turns each layer's outputs among themselves: keeps composition and what the base knows."

    name: Literal["oft"] = "oft"
    """The method."""
    block_size: int = Field(default=32, ge=2, le=1024)
    """Largest number b of channels that turn together, at most √width without a butterfly; it divides the width."""
    butterfly: bool = False
    """BOFT: several turns over channels ever further apart, so that small blocks reach everywhere."""
    constraint: float = Field(default=0.0, ge=0, le=10)
    """COFT: the largest norm of a block's Q, which keeps every turn small; 0 = none."""

    @property
    def file_algorithm(self) -> str:
        return "boft" if self.butterfly else "diag-oft"

    def decays(self, name: str) -> bool:
        return False

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        b = self.block(site.op.out)
        factors = (site.op.out // b).bit_length() if self.butterfly else 1  # log₂ + 1 of a power of two
        return {"q": trains(torch.zeros(factors, site.op.out // b, b * (b - 1) // 2))}

    def block(self, out: int) -> int:
        """The size b of a layer's blocks: the largest divisor of its width up to `block_size`.

        Without a butterfly it is no larger than their number: LyCORIS opens no file with fewer blocks.
        """
        if self.butterfly:
            return butterfly_block(out, self.block_size)
        return divisors(out, min(self.block_size, isqrt(out)))[-1]

    def update(self, theta: Theta, site: Site, shared: Theta, now: Now) -> Rotation:
        Q = skew(theta["q"], self.block(site.op.out))
        if self.constraint:
            norm = torch.linalg.matrix_norm(Q, keepdim=True)
            Q = Q * (self.constraint / norm.clamp(min=self.constraint))
        return Rotation(Q, site.op.shape, self.butterfly)


def skew(upper: Tensor, b: int) -> Tensor:
    """Skew matrices `(…, b, b)` from what is above their diagonals, `(…, b·(b − 1)/2)`, row by row."""
    rows, columns = torch.triu_indices(b, b, 1, device=upper.device)
    half = upper.new_zeros(*upper.shape[:-1], b, b)
    half[..., rows, columns] = upper
    return half - half.mT
