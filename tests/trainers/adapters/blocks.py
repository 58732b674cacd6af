"""Blocks of every kind that a UNet and a text encoder have, none of them square, and methods on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.adapters.block import BlockMethod, BlockSite
from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.methods.adapter import Adapter
from trainers.adapters.methods.krona_block import KronABlock
from trainers.adapters.methods.prompts import Prompts
from trainers.adapters.site import MethodTensors, TensorView

IN, OUT, TEXT = 12, 20, 28


class Attention(nn.Module):
    """One head, `(n, tokens, 12)` to `(n, tokens, 20)`, over its own tokens or over a text's of width 28."""

    def __init__(self, cross: bool) -> None:
        super().__init__()
        read = TEXT if cross else IN
        self.to_q, self.to_k, self.to_v = nn.Linear(IN, 8), nn.Linear(read, 8), nn.Linear(read, 8)
        self.to_out = nn.ModuleList([nn.Linear(8, OUT)])

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: Any = None
    ) -> Tensor:
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        return self.to_out[0](
            F.scaled_dot_product_attention(self.to_q(hidden_states), self.to_k(text), self.to_v(text))
        )


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(IN, 16)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x))


class FeedForward(nn.Module):
    """`(n, tokens, 12)` to `(n, tokens, 20)`."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(Gate(), nn.Identity(), nn.Linear(16, OUT))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TextFeedForward(nn.Module):
    """As CLIP's, `(n, tokens, 12)` to the same: KronA^B_res adds a block's input to its output."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(IN, 16), nn.Linear(16, IN)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(hidden_states)))


class TextAttention(nn.Module):
    """As CLIP's: called by name, and gives a second result."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.out_proj = nn.Linear(IN, 8), nn.Linear(8, OUT)

    def forward(self, hidden_states: Tensor, attention_mask: Any = None) -> tuple[Tensor, None]:
        return self.out_proj(F.silu(self.q_proj(hidden_states))), None


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "attn1": lambda: Attention(cross=False),
    "attn2": lambda: Attention(cross=True),
    "ff": FeedForward,
    "conv2": lambda: nn.Conv2d(IN, OUT, 3, stride=2, padding=1),
    "self_attn": TextAttention,
    "mlp": TextFeedForward,
}

# One row for every way a method can be written, with a kind of block it sits on.
VARIANTS: dict[str, tuple[str, BlockMethod]] = {
    "houlsby": ("attn1", Adapter(width=5, scale=0.7)),
    "houlsby-text": ("self_attn", Adapter(width=5, scale=0.7)),
    "pfeiffer": ("ff", Adapter(width=5, scale=0.7, form="pfeiffer")),
    "parallel": ("ff", Adapter(width=5, scale=0.7, form="parallel")),
    "convolution": ("conv2", Adapter(width=5, scale=0.7, form="convolution")),
    "houlsby-norms": ("attn2", Adapter(width=5, scale=0.7, norms=True)),
    "houlsby-text-norms": ("self_attn", Adapter(width=5, scale=0.7, norms=True)),
    "parallel-norms": ("ff", Adapter(width=5, scale=0.7, form="parallel", norms=True)),
    "krona-b": ("ff", KronABlock(scale=0.7)),
    "krona-b-residual": ("mlp", KronABlock(scale=0.7, residual=True)),
    "krona-b-bias": ("ff", KronABlock(scale=0.7, bias=True)),
    "vpt-gated": ("attn2", Prompts(tokens=3, gated=True)),
    "vpt-context": ("attn2", Prompts(tokens=3)),
    "vpt-shared": ("attn2", Prompts(tokens=3, deep=False)),
    "vpt-image": ("attn1", Prompts(tokens=3, variant="image")),
}


def make_block(kind: str, *methods: BlockMethod, size: float = 0.0) -> BlockSite:
    """One fp64 block with methods on it, all that trains moved off its start by about `size`."""
    torch.manual_seed(3)
    block = BLOCKS[kind]().double().requires_grad_(False)
    site = BlockSite("unet", f"resnets.0.encoder.layers.0.{kind}", block, ContextHolder(ForwardContext()))
    draw = torch.Generator().manual_seed(4)
    for method in methods:
        shared = MethodTensors(method.share([site], draw)).double()
        site.put(method, TensorView(shared), draw)
        site.double()
        with torch.no_grad():
            for parameter in (*site.thetas[-1].parameters(), *shared.parameters()):
                parameter.add_(size * torch.randn(parameter.shape, generator=draw))
    return site


def run(site: BlockSite) -> Tensor:
    """The block's output for a fixed input."""
    draw = torch.Generator().manual_seed(5)
    if site.role == "residual":
        return site.block(torch.randn(2, IN, 7, 6, generator=draw, dtype=torch.float64))
    x = torch.randn(2, 5, IN, generator=draw, dtype=torch.float64)
    text = torch.randn(2, 4, TEXT, generator=draw, dtype=torch.float64)
    if site.role == "feed_forward":
        return site.block(x)
    if isinstance(site.block, TextAttention):
        return site.block(hidden_states=x, attention_mask=None)[0]
    return site.block(x, encoder_hidden_states=text if site.role == "cross_attention" else None, attention_mask=None)


def at(site: BlockSite, strength: float) -> Tensor:
    """The block's output at another strength."""
    holder = site._holder
    before, holder.strength = holder.strength, strength
    try:
        return run(site)
    finally:
        holder.strength = before
