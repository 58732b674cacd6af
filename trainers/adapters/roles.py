"""The role of a layer or block of a base model, from its path: the only module with layer names.

Methods and presets select by role. A family with other layer names adds rows here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

Role = Literal[
    "q", "k", "v", "out", "ff_in", "ff_out", "proj_in", "proj_out", "conv1", "conv2", "shortcut", "resample", "time",
    "norm",
]  # fmt: skip
BlockRole = Literal["self_attention", "cross_attention", "feed_forward", "transformer", "residual", "resample"]
Stream = Literal["image", "text"]
"""Whose tokens pass through a block."""


@dataclass(frozen=True)
class LayerRole:
    """What a layer is for, and in which kind of block; a norm belongs to the block before which it stands."""

    role: Role
    block: BlockRole
    gated: bool = False
    """Of a feed-forward block, whether its first layer gives hidden activations and their gate side by side (GEGLU)."""


@dataclass(frozen=True)
class BlockKind:
    """A block that can be changed as a whole, and the layers in it at which its widths are read off."""

    role: BlockRole
    first: str
    """Takes the block's input; empty if the block is one layer."""
    last: str
    """Gives its output."""
    stream: Stream = "image"


LAYERS: Mapping[str, LayerRole] = {
    # UNets of diffusers
    "*.attn1.to_q": LayerRole("q", "self_attention"),
    "*.attn1.to_k": LayerRole("k", "self_attention"),
    "*.attn1.to_v": LayerRole("v", "self_attention"),
    "*.attn1.to_out.0": LayerRole("out", "self_attention"),
    "*.transformer_blocks.*.norm1": LayerRole("norm", "self_attention"),
    "*.attn2.to_q": LayerRole("q", "cross_attention"),
    "*.attn2.to_k": LayerRole("k", "cross_attention"),
    "*.attn2.to_v": LayerRole("v", "cross_attention"),
    "*.attn2.to_out.0": LayerRole("out", "cross_attention"),
    "*.transformer_blocks.*.norm2": LayerRole("norm", "cross_attention"),
    "*.ff.net.0.proj": LayerRole("ff_in", "feed_forward", gated=True),
    "*.ff.net.2": LayerRole("ff_out", "feed_forward", gated=True),
    "*.transformer_blocks.*.norm3": LayerRole("norm", "feed_forward"),
    "*.proj_in": LayerRole("proj_in", "transformer"),
    "*.proj_out": LayerRole("proj_out", "transformer"),
    "*.attentions.*.norm": LayerRole("norm", "transformer"),
    "*.conv1": LayerRole("conv1", "residual"),
    "*.conv2": LayerRole("conv2", "residual"),
    "*.conv_shortcut": LayerRole("shortcut", "residual"),
    "*.time_emb_proj": LayerRole("time", "residual"),
    "*.resnets.*.norm[12]": LayerRole("norm", "residual"),
    "*.*samplers.0.conv": LayerRole("resample", "resample"),
    # CLIP's text encoders in transformers
    "*.q_proj": LayerRole("q", "self_attention"),
    "*.k_proj": LayerRole("k", "self_attention"),
    "*.v_proj": LayerRole("v", "self_attention"),
    "*.out_proj": LayerRole("out", "self_attention"),
    "*.layer_norm1": LayerRole("norm", "self_attention"),
    "*.mlp.fc1": LayerRole("ff_in", "feed_forward"),
    "*.mlp.fc2": LayerRole("ff_out", "feed_forward"),
    "*.layer_norm2": LayerRole("norm", "feed_forward"),
}
"""By a shell pattern of the path with a dot before it; the first that matches counts."""

BLOCKS: Mapping[str, BlockKind] = {
    "*.attn1": BlockKind("self_attention", "to_q", "to_out.0"),
    "*.attn2": BlockKind("cross_attention", "to_q", "to_out.0"),
    "*.ff": BlockKind("feed_forward", "net.0.proj", "net.2"),
    "*.resnets.*.conv2": BlockKind("residual", "", ""),
    "*.self_attn": BlockKind("self_attention", "q_proj", "out_proj", "text"),
    "*.mlp": BlockKind("feed_forward", "fc1", "fc2", "text"),
}
"""The same for blocks."""


@cache
def layer_role(path: str) -> LayerRole | None:
    """What the layer at this path of a network is for; None of one that has no part in any preset."""
    return next((role for pattern, role in LAYERS.items() if fnmatchcase(f".{path}", pattern)), None)


@cache
def block_kind(path: str) -> BlockKind | None:
    """What kind of block the module at this path of a network is; None if it is none."""
    return next((kind for pattern, kind in BLOCKS.items() if fnmatchcase(f".{path}", pattern)), None)


def is_key(path: str) -> bool:
    """Whether a layer gives the keys of an attention, whose shift would have no effect under softmax."""
    found = layer_role(path)
    return found is not None and found.role == "k"


@dataclass(frozen=True)
class Selection:
    """The layers and blocks of a preset: those in these kinds of block, of these roles, within these modules."""

    blocks: tuple[BlockRole, ...] = ()
    roles: tuple[Role, ...] = ()
    """Empty: all. They choose among layers, and whole blocks have none."""
    within: tuple[str, ...] = ()
    """Paths; empty: anywhere."""

    def has_layer(self, path: str) -> bool:
        """Whether the layer at this path belongs to it."""
        found = layer_role(path)
        return found is not None and self._has(found.block, path) and (not self.roles or found.role in self.roles)

    def has_block(self, path: str) -> bool:
        """Whether the block at this path belongs to it."""
        found = block_kind(path)
        return found is not None and self._has(found.role, path)

    def _has(self, block: BlockRole, path: str) -> bool:
        return block in self.blocks and (not self.within or path.startswith(tuple(f"{one}." for one in self.within)))
