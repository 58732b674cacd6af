"""The role of a layer or block of a base model, from its path: the only module with layer names.

Methods and presets select by role. A family with other layer names adds rows here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor, nn

Role = Literal[
    "q", "k", "v", "out", "ff_in", "ff_out", "proj_in", "proj_out", "conv1", "conv2", "shortcut", "resample", "time",
    "norm", "modulation",
]  # fmt: skip
BlockRole = Literal[
    "self_attention", "cross_attention", "feed_forward", "transformer", "residual", "resample", "modulation", "ends",
]  # fmt: skip
Stream = Literal["image", "text", "joint"]
"""Source of the tokens in a block; both streams are one in the single blocks of some transformers."""


def is_denoiser(part: str) -> bool:
    """Whether a part of a base is its denoising network: any (`unet`, `transformer`) but a text encoder."""
    return not part.startswith("text_encoder")


TIMES: Mapping[str, tuple[float, float]] = {
    "FluxTransformer2DModel": (0, 1000),
    "ChromaTransformer2DModel": (0, 1000),
    "ZImageTransformer2DModel": (1000, -1000),
}
"""Denoisers that are told another time τ than the timestep t from 0 to 1000, by class: a and b of t = a + b τ."""
PADDED = 32
"""Tokens of each image are padded to a multiple of it in denoisers that have those of all images in one row."""


@dataclass(frozen=True)
class LayerRole:
    """A layer's role and its kind of block; a norm belongs to the block after it."""

    role: Role
    block: BlockRole
    gated: bool = False
    """Whether its feed-forward block is gated: the first layer then outputs activations and gate (GEGLU)."""
    stream: Stream = "image"
    batched: bool = True
    """Whether its inputs are those of one image after the other, `(n, …)`, and not tokens of all images in one row."""


@dataclass(frozen=True)
class BlockKind:
    """A kind of block that can be changed as a whole, with the layers that give its widths."""

    role: BlockRole
    first: str
    """The layer that reads the block's input; empty if the block is one layer."""
    last: str
    """The layer that gives its output."""
    stream: Stream = "image"


def _single_blocks(start: str, stream: Stream) -> dict[str, LayerRole]:
    """Roles in blocks of Z-Image, in which the gate of the feed-forward is a layer of its own."""
    return {
        f"{start}.*.attention.to_q": LayerRole("q", "self_attention", stream=stream),
        f"{start}.*.attention.to_k": LayerRole("k", "self_attention", stream=stream),
        f"{start}.*.attention.to_v": LayerRole("v", "self_attention", stream=stream),
        f"{start}.*.attention.to_out.0": LayerRole("out", "self_attention", stream=stream),
        f"{start}.*.feed_forward.w[13]": LayerRole("ff_in", "feed_forward", stream=stream),
        f"{start}.*.feed_forward.w2": LayerRole("ff_out", "feed_forward", stream=stream),
        f"{start}.*.adaLN_modulation.0": LayerRole("modulation", "modulation", stream=stream),
    }


LAYERS: Mapping[str, LayerRole] = {
    # Transformers of diffusers: joint attention has projections of its own for the text
    ".transformer_blocks.*.attn*.to_q": LayerRole("q", "self_attention"),
    ".transformer_blocks.*.attn*.to_k": LayerRole("k", "self_attention"),
    ".transformer_blocks.*.attn*.to_v": LayerRole("v", "self_attention"),
    ".transformer_blocks.*.attn*.to_out.0": LayerRole("out", "self_attention"),
    ".transformer_blocks.*.attn*.norm_[qk]": LayerRole("norm", "self_attention"),
    ".transformer_blocks.*.attn.add_q_proj": LayerRole("q", "self_attention", stream="text"),
    ".transformer_blocks.*.attn.add_k_proj": LayerRole("k", "self_attention", stream="text"),
    ".transformer_blocks.*.attn.add_v_proj": LayerRole("v", "self_attention", stream="text"),
    ".transformer_blocks.*.attn.to_add_out": LayerRole("out", "self_attention", stream="text"),
    ".transformer_blocks.*.attn.norm_added_[qk]": LayerRole("norm", "self_attention", stream="text"),
    ".transformer_blocks.*.ff.net.0.proj": LayerRole("ff_in", "feed_forward"),
    ".transformer_blocks.*.ff.net.2": LayerRole("ff_out", "feed_forward"),
    ".transformer_blocks.*.ff_context.net.0.proj": LayerRole("ff_in", "feed_forward", stream="text"),
    ".transformer_blocks.*.ff_context.net.2": LayerRole("ff_out", "feed_forward", stream="text"),
    ".transformer_blocks.*.norm1.linear": LayerRole("modulation", "modulation"),
    ".transformer_blocks.*.norm1_context.linear": LayerRole("modulation", "modulation", stream="text"),
    ".single_transformer_blocks.*.attn.to_q": LayerRole("q", "self_attention", stream="joint"),
    ".single_transformer_blocks.*.attn.to_k": LayerRole("k", "self_attention", stream="joint"),
    ".single_transformer_blocks.*.attn.to_v": LayerRole("v", "self_attention", stream="joint"),
    ".single_transformer_blocks.*.attn.norm_[qk]": LayerRole("norm", "self_attention", stream="joint"),
    ".single_transformer_blocks.*.proj_mlp": LayerRole("ff_in", "feed_forward", stream="joint"),
    ".single_transformer_blocks.*.proj_out": LayerRole("ff_out", "feed_forward", stream="joint"),
    ".single_transformer_blocks.*.norm.linear": LayerRole("modulation", "modulation", stream="joint"),
    ".distilled_guidance_layer.*": LayerRole("modulation", "modulation", stream="joint"),
    ".norm_out.linear": LayerRole("modulation", "modulation"),
    # Z-Image
    **_single_blocks(".layers", "joint"),
    **_single_blocks(".noise_refiner", "image"),
    **_single_blocks(".context_refiner", "text"),
    ".all_x_embedder.*": LayerRole("proj_in", "ends", batched=False),
    ".cap_embedder.1": LayerRole("proj_in", "ends", stream="text", batched=False),
    ".all_final_layer.*.adaLN_modulation.1": LayerRole("modulation", "modulation"),
    ".all_final_layer.*.linear": LayerRole("proj_out", "ends"),
    ".pos_embed.proj": LayerRole("proj_in", "ends"),
    ".x_embedder": LayerRole("proj_in", "ends"),
    ".context_embedder": LayerRole("proj_in", "ends", stream="text"),
    ".proj_out": LayerRole("proj_out", "ends"),
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
"""Roles by shell pattern of the path, with a dot before it; the first match counts."""

BLOCKS: Mapping[str, BlockKind] = {
    ".transformer_blocks.*.attn2": BlockKind("self_attention", "to_q", "to_out.0"),
    ".transformer_blocks.*.ff_context": BlockKind("feed_forward", "net.0.proj", "net.2", "text"),
    ".layers.*.attention": BlockKind("self_attention", "to_q", "to_out.0"),
    ".*_refiner.*.attention": BlockKind("self_attention", "to_q", "to_out.0"),
    ".layers.*.feed_forward": BlockKind("feed_forward", "w1", "w2"),
    ".*_refiner.*.feed_forward": BlockKind("feed_forward", "w1", "w2"),
    "*.attn1": BlockKind("self_attention", "to_q", "to_out.0"),
    "*.attn2": BlockKind("cross_attention", "to_q", "to_out.0"),
    "*.ff": BlockKind("feed_forward", "net.0.proj", "net.2"),
    "*.resnets.*.conv2": BlockKind("residual", "", ""),
    "*.self_attn": BlockKind("self_attention", "q_proj", "out_proj", "text"),
    "*.encoder.layers.*.mlp": BlockKind("feed_forward", "fc1", "fc2", "text"),
}
"""Kinds of block by pattern, as in `LAYERS`."""


def timesteps_of_call(denoiser: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """The timestep of each image, `(n,)` from 0 to 1000, in a call of a denoiser; KeyError if it has none."""
    names = ("hidden_states", "timestep") if "hidden_states" in kwargs else ("sample", "timestep")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    images, time = given[names[0]], torch.as_tensor(given["timestep"])
    start, factor = TIMES.get(type(denoiser).__name__, (0, 1))
    t = time if factor == 1 else start + factor * time
    device = images.device if isinstance(images, torch.Tensor) else images[0].device  # of Z-Image's, a list
    return t.to(device).expand(len(images))


def takes_timesteps(denoiser: nn.Module) -> bool:
    """Whether calls of a denoiser give its timesteps, as far as its signature tells."""
    parameters = list(signature(denoiser.forward).parameters.values())
    named = "timestep" in {each.name for each in parameters} or [each.name for each in parameters[1:2]] == ["t"]
    return named or any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters)


def rows_of_call(denoiser: Any, args: tuple[Any, ...]) -> Mapping[Stream, tuple[int, ...]]:
    """Tokens of each image, by stream, in a call of a denoiser with these arguments, for layers that are not batched.

    Empty for denoisers without such layers.
    """
    if type(denoiser).__name__ != "ZImageTransformer2DModel":
        return {}
    images, _time, captions = args
    patch = denoiser.config.all_patch_size[0]
    counts: Mapping[Stream, list[int]] = {
        "image": [image[0].numel() // patch**2 for image in images],
        "text": [len(caption) for caption in captions],
    }
    return {stream: tuple(n + -n % PADDED for n in own) for stream, own in counts.items()}


@cache
def layer_role(path: str) -> LayerRole | None:
    """The role of the layer at a path; None for layers outside all presets."""
    return next((role for pattern, role in LAYERS.items() if fnmatchcase(f".{path}", pattern)), None)


def is_batched(path: str) -> bool:
    """Whether the inputs of the layer at a path are those of one image after the other."""
    found = layer_role(path)
    return found is None or found.batched


@cache
def block_kind(path: str) -> BlockKind | None:
    """The kind of the block at a path; None if the module is not a block."""
    return next((kind for pattern, kind in BLOCKS.items() if fnmatchcase(f".{path}", pattern)), None)


def is_key(path: str) -> bool:
    """Whether a layer computes attention keys, whose shift softmax cancels."""
    found = layer_role(path)
    return found is not None and found.role == "k"


@dataclass(frozen=True)
class Selection:
    """Layers and blocks of a preset: by kind of block, role and module."""

    blocks: tuple[BlockRole, ...] = ()
    roles: tuple[Role, ...] = ()
    """Roles of layers; empty for all. Whole blocks are not filtered by it."""
    within: tuple[str, ...] = ()
    """Paths of modules; empty for all."""
    streams: tuple[Stream, ...] = ()
    """Streams of layers and blocks; empty for all."""

    def has_layer(self, path: str) -> bool:
        """Whether the preset contains the layer at this path."""
        found = layer_role(path)
        if found is None or not self._has(found.block, found.stream, path):
            return False
        return not self.roles or found.role in self.roles

    def has_block(self, path: str) -> bool:
        """Whether the preset contains the block at this path."""
        found = block_kind(path)
        return found is not None and self._has(found.role, found.stream, path)

    def _has(self, block: BlockRole, stream: Stream, path: str) -> bool:
        inside = not self.within or path.startswith(tuple(f"{one}." for one in self.within))
        return block in self.blocks and inside and (not self.streams or stream in self.streams)
