"""OFT and BOFT: rotate a layer's outputs or inputs.

    side = output    ΔW = (R − I) W        rotates the outputs: y = R W x
    side = input     ΔW = W (R − I)        rotates the inputs: y = W R x

    R = R_m … R_1,    R_i = P_iᵀ blockdiag(R_i1 … R_i(n/b)) P_i,    R_ij = (I + Q)(I − Q)⁻¹

where every skew Q (b, b) starts at 0 and n is the layer's number of output or input channels. OFT has one factor and no
permutation (m = 1, P = I): channels rotate within blocks of b neighbours. BOFT has m = log₂(n/b) + 1 factors, the i-th
over channels 2ⁱ b / 2 apart (a butterfly), so that every channel mixes with every other at few parameters. Half of each
skew Q is trained: m · n · (b − 1) / 2 parameters.

A neuron is a row of W. W R, the papers' form, preserves the norms of the rows and the angles between them, and so the
layer's hyperspherical energy. R W preserves norms and angles of the columns instead, and mixes the rows; the tools for
style files read it, and it costs one small product instead of another pass through W.

A constraint ε (COFT) limits ‖Q‖ of each block to ε. R is computed by a solve in fp32, not approximated by a series.

Qiu et al. 2023 (arXiv 2306.07280) for OFT and COFT; Liu et al. 2023 (2311.06243) for BOFT.
"""

from __future__ import annotations

from math import isqrt
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, Stored
from trainers.adapters.method import SETTINGS, LayerMethod, Theta
from trainers.adapters.op import Op
from trainers.adapters.site import Site
from trainers.adapters.updates import InputRotation, Rotation
from trainers.adapters.updates.rotation import butterfly_block, divisors


@dataclass(frozen=True, config=SETTINGS)
class OFT(LayerMethod):
    """ΔW = (R − I) W, or W (R − I)."""

    about: ClassVar[About] = About(
        title="OFT",
        summary="Rotates each layer's outputs, or inputs: keeps what the base knows.",
        good_at="Rotates each layer's output instead of adding to it: keeps composition.",
        paper="arXiv 2306.07280, 2311.06243",
        parameters="out (b − 1) / 2; in (b − 1) / 2 on the input side",
        opens_in="programs",
        group="another-way",
        formula="rotation",
        stored=Stored("turned", "turned"),
    )

    name: Literal["oft"] = "oft"
    """The method."""
    side: Literal["output", "input"] = "output"
    """Rotate a layer's outputs, in a format that tools read, or its inputs, which keeps the angles between neurons."""
    block_size: int = Field(default=32, ge=2, le=1024)
    """Maximum block size b, the channels that rotate together; for outputs without butterfly, at most √width."""
    butterfly: bool = False
    """BOFT: several rotations over channels at growing distances, so that small blocks reach every channel."""
    constraint: float = Field(default=0.0, ge=0, le=10)
    """COFT: maximum norm of a block's Q, which keeps every rotation small; 0 = none."""

    def decays(self, name: str) -> bool:
        return False

    def sits_on(self, part: str, path: str, layer: nn.Module) -> bool:
        """Whether some channels can rotate together."""
        width = self.width(Op.of(layer))
        return width % 2 == 0 if self.butterfly else self.block(width) > 1

    def init(self, site: Site, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        width = self.width(site.op)
        b = self.block(width)
        factors = (width // b).bit_length() if self.butterfly else 1  # log₂ + 1 of a power of two
        return {"q": nn.Parameter(torch.zeros(factors, width // b, b * (b - 1) // 2))}

    def width(self, op: Op) -> int:
        """Number of channels of a layer that rotate."""
        return op.out if self.side == "output" else op.shape[1]

    def block(self, width: int) -> int:
        """Block size b for a width: its largest divisor up to `block_size`.

        For outputs without butterfly, b is at most √width: LyCORIS reads no file with b above the number of blocks.
        """
        if self.butterfly:
            return butterfly_block(width, self.block_size)
        most = min(self.block_size, isqrt(width)) if self.side == "output" else self.block_size
        return divisors(width, most)[-1]

    def update(self, theta: Theta, site: Site) -> Rotation | InputRotation:
        Q = skew(theta["q"], self.block(self.width(site.op)))
        if self.constraint:
            norm = torch.linalg.matrix_norm(Q, keepdim=True)
            Q = Q * (self.constraint / norm.clamp(min=self.constraint))
        if self.side == "input":
            return InputRotation(Q, site.weight(), self.butterfly)
        return Rotation(Q, site.op.shape, self.butterfly)


def skew(upper: Tensor, b: int) -> Tensor:
    """Skew matrices `(…, b, b)` from their entries above the diagonal, `(…, b·(b − 1)/2)`, row by row."""
    rows, columns = torch.triu_indices(b, b, 1, device=upper.device)
    half = upper.new_zeros(*upper.shape[:-1], b, b)
    half[..., rows, columns] = upper
    return half - half.mT
