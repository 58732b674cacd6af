"""KronA^B: a Kronecker product parallel to the feed-forward block, and KronA^B_res, which also passes the input on.

    y = FF(x) + s (A ⊗ B) x             A (u_out, u_in),  B (v_out, v_in),  u·v = out and in
    y = FF(x) + s (A ⊗ B) x + g x       with `residual`; g () learned

and with `bias` + b, b (out,). A starts Kaiming-uniform, B, g and b at zero, so y = FF(x) before the first step. FF is
not linear, so the change is not one of weights and cannot be merged. `krona` is the form that changes weights.

Edalati et al. 2022 (arXiv 2212.10650), §3.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About
from trainers.adapters.block import BlockMethod, BlockSite, Call
from trainers.adapters.layouts.layout import BlockRole
from trainers.adapters.method import SETTINGS, Theta
from trainers.adapters.methods.initial import kronecker_pair
from trainers.adapters.updates import Kronecker
from trainers.adapters.updates.tensors import times


@dataclass(frozen=True, config=SETTINGS)
class KronABlock(BlockMethod):
    """y = FF(x) + s (A ⊗ B) x + g x."""

    about: ClassVar[About] = About(
        title="KronA-B",
        summary="A Kronecker product parallel to each feed-forward block: hardly any parameters.",
        good_at="KronA parallel to whole blocks. Hardly any parameters.",
        paper="arXiv 2212.10650",
        parameters="u_out u_in + v_out v_in",
        opens_in="only-here",
        group="only-here",
        formula="block",
    )
    text_preset: ClassVar[str] = "attn-mlp"

    name: Literal["krona-b"] = "krona-b"
    """The method."""
    scale: float = Field(default=1.0, gt=0, le=256)
    """s: scale of the product."""
    residual: bool = False
    """Also add the block's input times a learned scalar (KronA^B_res)."""
    bias: bool = False
    """Also add a learned bias to each output channel."""

    @property
    def kinds(self) -> tuple[BlockRole, ...]:
        return ("feed_forward",)

    def init(self, site: BlockSite, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        residual = {"g": nn.Parameter(torch.zeros(()))} if self.residual else {}
        bias = {"b": nn.Parameter(torch.zeros(site.op.out))} if self.bias else {}
        return kronecker_pair(site.op.shape, draw) | residual | bias

    def after(self, call: Call, theta: Theta, site: BlockSite) -> Tensor:
        product = Kronecker(times(self.scale, theta["A"]), theta["B"], site.op.shape)
        y = product.apply(site.op, call.x, onto=call.y)
        y = y + theta["g"].to(y.dtype) * call.x if self.residual else y
        return y + theta["b"].to(y.dtype) if self.bias else y
