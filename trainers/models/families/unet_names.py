"""Names of a U-Net's layers in the original (LDM, SGM) layout.

It numbers the layers of all down and all up blocks consecutively, so a layer's number depends on the shape of the UNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}

IN_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


@dataclass(frozen=True)
class UNetShape:
    """The properties of a UNet that determine the numbering of the original layout, by block."""

    layers: tuple[int, ...]
    """Residual layers of each down block; an up block has one more."""
    up_attention: tuple[bool, ...]
    """Whether each up block has attention."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> UNetShape:
        """The shape in a diffusers UNet config."""
        blocks, layers = len(config["down_block_types"]), config["layers_per_block"]
        per_block = (layers,) * blocks if isinstance(layers, int) else tuple(layers)
        return cls(per_block, tuple("Attn" in kind for kind in config["up_block_types"]))

    @property
    def up_layers(self) -> tuple[int, ...]:
        """Residual layers of each up block."""
        return tuple(n + 1 for n in reversed(self.layers))


def original_path(path: str, shape: UNetShape) -> str:
    """The path in the original layout of a diffusers UNet layer, such as `input_blocks.4.1.proj_in`."""
    if path in OUTSIDE_BLOCKS:
        return OUTSIDE_BLOCKS[path]
    way, *rest = path.split(".")
    if way == "mid_block":
        kind, index, *inner = rest
        return ".".join(["middle_block", str(2 * int(index) + (kind == "attentions")), *_inside(kind, inner)])
    block, (kind, index, *inner) = int(rest[0]), rest[1:]
    if way == "down_blocks":
        start = 1 + sum(shape.layers[:block]) + block  # the input convolution, and a downsampler after each block
        if kind == "downsamplers":
            return f"input_blocks.{start + shape.layers[block]}.0.op"
        return ".".join([f"input_blocks.{start + int(index)}.{int(kind == 'attentions')}", *_inside(kind, inner)])
    start, layers = sum(shape.up_layers[:block]), shape.up_layers[block]
    if kind == "upsamplers":
        return f"output_blocks.{start + layers - 1}.{1 + shape.up_attention[block]}.conv"
    return ".".join([f"output_blocks.{start + int(index)}.{int(kind == 'attentions')}", *_inside(kind, inner)])


def _inside(kind: str, inner: list[str]) -> list[str]:
    return [IN_RESNET[inner[0]], *inner[1:]] if kind == "resnets" else inner
