"""Visual prompt tuning: attention reads learned tokens besides those of the picture or the text.

    y = attn1([P; x]) without the rows of P             P (n, in), each block its own
    y = attn2(x, [c; P])                                P (n, in_text), each block its own or one for all

The paper classifies images; these two forms apply to the tokens of a UNet. `image` prepends n rows to the picture's
tokens in self-attention and removes them from its output before the residual; `context` appends them to the text c in
cross-attention. P starts U(±√(6 / (2 in_text))), as in the paper; with `image` N(0, 1), like the normalised tokens
there, since smaller values hardly learn. The added tokens take attention from the others at once: unlike other methods
it has an effect at its start, unless it is `gated`:

    y = a + g (y' − a),  a = attn(x, c) without prompts        g () learned, 0 at the start

Strength interpolates in the same way between a and y'. It is not a change of weights and cannot be merged.

Jia et al. 2022 (arXiv 2203.12119), §3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from trainers.adapters.about import About, FileForm
from trainers.adapters.block import BlockMethod, BlockSite, Call
from trainers.adapters.layouts.layout import BlockRole, Stream
from trainers.adapters.method import SETTINGS, Theta
from trainers.adapters.methods.initial import normal
from trainers.messages import Message


@dataclass(frozen=True, config=SETTINGS)
class Prompts(BlockMethod):
    """y = attn1([P; x]) without the rows of P, or y = attn2(x, [c; P])."""

    about: ClassVar[About] = About(
        title="Visual prompts",
        summary="Learned tokens next to those of the text or the picture: tiny files with a strong effect.",
        good_at="Learned tokens that act without being in the prompt. Tiny files; shapes follow the prompt less.",
        paper="arXiv 2203.12119",
        parameters="n in_text",
        opens_in="only-here",
        group="only-here",
        formula="block",
    )
    places: ClassVar[tuple[str, ...]] = ("tokens",)
    text_preset: ClassVar[str] = "none"
    streams: ClassVar[tuple[Stream, ...]] = ("image",)

    name: Literal["vpt"] = "vpt"
    """The method."""
    tokens: int = Field(default=8, ge=1, le=1024)
    """Number n of learned tokens per block."""
    variant: Literal["context", "image"] = "context"
    """Add the tokens to the text's in cross-attention, or to the picture's in self-attention."""
    deep: bool = True
    """Each block learns its own tokens; otherwise all blocks share one set (only with `context`)."""
    gated: bool = False
    """Add a learned gate, initially zero, so that the first picture is the base's."""
    gate_ratio: float = Field(default=1.0, gt=0, le=1000)
    """Ratio of the gates' learning rate to the tokens'."""
    unconditional: bool = True
    """Use the tokens without a caption too; otherwise guidance also pushes the picture towards the style."""

    @model_validator(mode="after")
    def _has_effect(self) -> Prompts:
        if self.variant == "image" and not self.deep:
            raise ValueError(
                Message("deep = false needs variant = context: blocks differ in width and cannot share picture tokens")
            )
        if self.gate_ratio != 1 and not self.gated:
            raise ValueError(Message("gate_ratio has no effect without gated = true"))
        return self

    @property
    def kinds(self) -> tuple[BlockRole, ...]:
        return ("cross_attention",) if self.variant == "context" else ("self_attention",)

    def learning_rate_ratio(self, name: str) -> float:
        return self.gate_ratio if name == "g" else 1.0

    def decays(self, name: str) -> bool:
        return name != "g"

    def share(self, sites: Sequence[BlockSite], draw: torch.Generator) -> dict[str, Tensor]:
        return {} if self.deep else {"P": self._start(sites[0], draw)}

    def file_form(self) -> FileForm:
        return FileForm(fp32=True)

    def init(self, site: BlockSite, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        gate = {"g": nn.Parameter(torch.zeros(()))} if self.gated else {}
        return gate | ({"P": self._start(site, draw)} if self.deep else {})

    def _start(self, site: BlockSite, draw: torch.Generator) -> Tensor:
        if self.variant == "image":
            return nn.Parameter(normal(draw, 1.0, self.tokens, site.op.shape[1]))
        width = site.context_width
        return nn.Parameter((torch.rand(self.tokens, width, generator=draw) * 2 - 1) * (6 / (2 * width)) ** 0.5)

    def after(self, call: Call, theta: Theta, site: BlockSite) -> Tensor:
        y = run_with_prompts(call, theta["P"])
        if self.gated:
            y = call.y + theta["g"].to(y.dtype) * (y - call.y)
        if self.unconditional or not any(site.context.uncaptioned):
            return y
        bare = torch.tensor(site.context.uncaptioned, device=y.device)  # (n,)
        return torch.where(bare[:, None, None], call.y, y)


def run_with_prompts(call: Call, P: Tensor) -> Tensor:
    """A block's output with the rows of P `(n, d)` after the text's tokens, or before the picture's without text."""
    P = P.to(call.x.dtype).expand(len(call.x), -1, -1)
    if call.context is not None:
        return call.rerun(call.x, torch.cat([call.context, P.to(call.context.dtype)], 1))
    return call.rerun(torch.cat([P, call.x], 1), None)[:, P.shape[1] :]
