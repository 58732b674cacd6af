"""Layer names in style files: kohya's for most tools, dotted names for diffusers.

SD 1 and SD 2 files use the UNet's diffusers paths. SDXL files use the paths of the original (SGM) layout, which numbers
the layers of all down and all up blocks consecutively, so a layer's number depends on the shape of the UNet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

PREFIXES = {"unet": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}

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

FLATTENED = ("embeddings", "encoder", "final_layer_norm")
"""Children of a CLIP text encoder's `text_model`, a level that transformers 5 omits from the plain encoder's paths."""


@dataclass(frozen=True)
class UNetShape:
    """The properties of a UNet that determine the original layout's numbering, by block."""

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
    """A diffusers UNet layer's path in the original layout, e.g. `input_blocks.4.1.proj_in`."""
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


def full_path(part: str, path: str) -> str:
    """A layer's path as in files, where paths in text encoders begin with `text_model.`."""
    return f"text_model.{path}" if part != "unet" and path.split(".")[0] in FLATTENED else path


def kohya_name(part: str, path: str, family: str, shape: UNetShape | None = None) -> str:
    """The kohya name of a layer, e.g. `lora_te_text_model_encoder_layers_0_mlp_fc1`.

    `part` is `unet`, `text_encoder` or `text_encoder_2`, `path` the layer's path in `named_modules()`. SDXL needs the
    UNet's `shape`.
    """
    path = full_path(part, path)
    if part == "unet" and family == "sdxl":
        if shape is None:
            raise ValueError("names of SDXL's UNet layers depend on the shape of the UNet")
        path = original_path(path, shape)
    prefix = "lora_te1" if part == "text_encoder" and family == "sdxl" else PREFIXES[part]
    return f"{prefix}_{path.replace('.', '_')}"


def diffusers_name(part: str, path: str) -> str:
    """The diffusers name of a layer, e.g. `text_encoder.text_model.encoder.layers.0.mlp.fc1`."""
    return f"{part}.{full_path(part, path)}"


UNET_PATHS = ("down_blocks.", "mid_block.", "up_blocks.", "conv_in.", "conv_out.", "conv_norm_out.", "time_embedding.")
"""Starts of paths in diffusers' UNet; whole paths end with a dot too."""
ORIGINAL_PATHS = ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out.")
"""Starts of paths in the original (LDM, SGM) layout."""
STARTS: Mapping[str, tuple[str, ...]] = {
    "text_encoder_2": ("lora_te2_", "text_encoder_2.", "text_encoders.clip_g.", "clip_g.", "clip_g_"),
    "text_encoder": (
        *("lora_te_", "lora_te1_", "text_encoder.", "text_encoders.clip_l.", "clip_l.", "text_encoders.clip_h."),
        *("clip_h.", "cond_stage_model.transformer.", "base_model.model.text_model.", "base_model.model.encoder."),
    ),
    "unet": (
        *("lora_unet_", "lycoris_", "oft_unet_", "unet.", "base_model.model."),
        *("diffusion_model.", "model.diffusion_model.", *UNET_PATHS, *ORIGINAL_PATHS),
    ),
}
"""Starts of layer names in files, by part of the model; the first part that matches counts."""


def part_of(stem: str) -> str | None:
    """The part of the model that a layer's name in a file refers to; None for unknown conventions."""
    return next((part for part, starts in STARTS.items() if f"{stem}.".startswith(starts)), None)


def network_config(network: nn.Module) -> dict[str, Any]:
    """The config of a diffusers network."""
    untyped: Any = network  # avoids importing diffusers for its types
    return dict(untyped.config)


def layer_names(parts: Mapping[str, nn.Module], family: str) -> dict[str, tuple[str, str]]:
    """All names that files may use for layers of these parts, with the `(part, path)` of each layer."""
    names: dict[str, tuple[str, str]] = {}
    for part, net in parts.items():
        shape = UNetShape.of(network_config(net)) if part == "unet" else None
        for path, layer in net.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.GroupNorm | nn.LayerNorm):
                for name in _names(part, path, family, shape):
                    names.setdefault(name, (part, path))
    return names


def _names(part: str, path: str, family: str, shape: UNetShape | None) -> Iterator[str]:
    yield kohya_name(part, path, family, shape)
    yield diffusers_name(part, path)
    if shape is None:
        yield from _encoder_names(part, path, family)
        return
    flat, original = path.replace(".", "_"), original_path(path, shape)
    yield from (f"lora_unet_{flat}", f"lycoris_{flat}", f"base_model.model.{path}", path)
    yield f"lora_unet_{original.replace('.', '_')}"
    # ComfyUI saves its own paths, and OneTrainer the original ones with or without a prefix.
    yield from (f"{start}{original}" for start in ("diffusion_model.", "model.diffusion_model.", "unet.", ""))
    yield from (f"oft_unet_{flat}", f"oft_unet_{original.replace('.', '_')}")


def _encoder_names(part: str, path: str, family: str) -> Iterator[str]:
    short, whole = path.removeprefix("text_model."), full_path(part, path)
    yield f"{part}.{short}"
    called = "clip_g" if part == "text_encoder_2" else "clip_h" if family == "sd2" else "clip_l"
    for start in ("text_encoders.", ""):
        yield from (f"{start}{called}.transformer.{whole}", f"{start}{called}.{whole}", f"{start}{called}.{short}")
    if family != "sdxl":  # ambiguous with two encoders
        yield from (f"lora_te1_{whole.replace('.', '_')}", f"cond_stage_model.transformer.{whole}")
        yield from (f"base_model.model.{whole}", f"base_model.model.{short}")


def attention_siblings(path: str) -> tuple[str, ...]:
    """The four projections of a layer's text-encoder attention; empty for other layers."""
    projections = ("q_proj", "k_proj", "v_proj", "out_proj")
    parent, _, last = path.rpartition(".")
    if last not in projections or not parent.endswith("self_attn"):
        return ()
    return tuple(f"{parent}.{name}" for name in projections)
