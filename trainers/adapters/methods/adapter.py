"""Adapters: a small network with one hidden layer after a block or parallel to it.

    y = h + s (U σ(D h + d) + u)        D (m, in),  U (out, m),  d (m,),  u (out,)

`houlsby` follows attention and feed-forward blocks, `pfeiffer` feed-forward blocks alone; h is the block's output and σ
the exact GELU. `parallel` runs parallel to feed-forward blocks: D reads the block's input x instead of its output.
`convolution`, which is not from a paper, follows the second convolution of residual blocks: D and U act on each pixel,
and σ is SiLU. All change the output before the residual is added.

The paper also trains the layer norms. With `norms`, the norm before each block is trained as a scale and a shift of its
output, the block's input x; h is then the block's output for x′:

    x′ = (1 + g) ⊙ x + b        g (in,),  b (in,)

D starts Kaiming-uniform and U, d, u, g and b at zero, so y = h before the first step; with both U and D at zero neither
would get a gradient. Because of σ it is not a change of weights and cannot be merged.

Houlsby et al. 2019 (arXiv 1902.00751), §2.1; Pfeiffer et al. 2021 (2005.00247), §4; He et al. 2021 (2110.04366), §4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.adapters.about import About
from trainers.adapters.block import BlockMethod, BlockSite, Call
from trainers.adapters.layouts.layout import BlockRole
from trainers.adapters.method import SETTINGS, Theta
from trainers.adapters.methods.initial import kaiming
from trainers.messages import Message


@dataclass(frozen=True, config=SETTINGS)
class Adapter(BlockMethod):
    """y = h + s (U σ(D h + d) + u)."""

    about: ClassVar[About] = About(
        title="Adapter",
        summary="A small network after each block; its effect depends on its input.",
        good_at="Adds small networks to the model. Their effect depends on their input.",
        paper="arXiv 1902.00751",
        parameters="m (2 out + 1) + out; 2 in with norms",
        opens_in="only-here",
        group="only-here",
        formula="block",
    )
    text_preset: ClassVar[str] = "attn-mlp"

    name: Literal["adapter"] = "adapter"
    """The method."""
    form: Literal["houlsby", "pfeiffer", "parallel", "convolution"] = "houlsby"
    """Position: after attention and feed-forward; after or parallel to feed-forward; or after residual convolutions."""
    width: int = Field(default=32, ge=1, le=4096)
    """Width m of the hidden layer: more capacity, a larger file; block overrides call it `rank`."""
    scale: float = Field(default=1.0, gt=0, le=256)
    """s: scale of the small network's output."""
    norms: bool = False
    """Also train the norm before each block, as the paper does; each block then runs twice, once without gradient."""

    @model_validator(mode="after")
    def _has_norms(self) -> Adapter:
        if self.norms and self.form == "convolution":
            raise ValueError(
                Message("norms = true needs another form than convolution, where an activation follows the norm")
            )
        return self

    @property
    def kinds(self) -> tuple[BlockRole, ...]:
        if self.form == "houlsby":
            return ("self_attention", "cross_attention", "feed_forward")
        return ("residual",) if self.form == "convolution" else ("feed_forward",)

    @property
    def no_rank_reason(self) -> str:
        return ""

    def with_rank(self, rank: int) -> Adapter:
        return replace(self, width=rank)

    def decays(self, name: str) -> bool:
        return name not in ("g", "b")

    def init(self, site: BlockSite, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        inputs = site.op.shape[1] if self.form == "parallel" else site.op.out
        norm = {name: nn.Parameter(torch.zeros(site.op.shape[1])) for name in ("g", "b")} if self.norms else {}
        return {
            **norm,
            "D": nn.Parameter(kaiming(draw, self.width, inputs)),
            "d": nn.Parameter(torch.zeros(self.width)),
            "U": nn.Parameter(torch.zeros(site.op.out, self.width)),
            "u": nn.Parameter(torch.zeros(site.op.out)),
        }

    def after(self, call: Call, theta: Theta, site: BlockSite) -> Tensor:
        x, y = call.x, call.y
        if self.norms:
            x = torch.addcmul(x + theta["b"].to(x.dtype), theta["g"].to(x.dtype), x)
            y = call.rerun(x, call.context)
        h = x if self.form == "parallel" else y
        d, u = (site.op.over_channels(theta[name].to(h.dtype)) for name in ("d", "u"))
        hidden = site.op.pointwise(h, theta["D"]) + d
        hidden = F.silu(hidden) if self.form == "convolution" else F.gelu(hidden)
        return site.op.pointwise(hidden, self.scale * theta["U"], onto=y) + self.scale * u
