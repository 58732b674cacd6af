"""Layer names in style files: kohya's for most tools, dotted names for diffusers.

How kohya's names call the denoiser's layers is the family's: by diffusers' paths, or by those of the original layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from trainers.adapters.roles import is_denoiser
from trainers.models.families import get_family
from trainers.models.families.family import Family

PREFIXES = {
    "unet": "lora_unet",
    "transformer": "lora_transformer",
    "text_encoder": "lora_te",
    "text_encoder_2": "lora_te2",
}

FLATTENED = ("embeddings", "encoder", "final_layer_norm")
"""Children of a CLIP text encoder's `text_model`, a level that transformers 5 omits from the plain encoder's paths."""


def full_path(part: str, path: str) -> str:
    """A layer's path as in files, where paths in text encoders begin with `text_model.`."""
    return f"text_model.{path}" if not is_denoiser(part) and path.split(".")[0] in FLATTENED else path


def kohya_name(part: str, path: str, family: str, config: Mapping[str, Any] | None = None) -> str:
    """The kohya name of a layer, e.g. `lora_te_text_model_encoder_layers_0_mlp_fc1`.

    `part` is `unet`, `transformer`, `text_encoder` or `text_encoder_2`, `path` the layer's path in `named_modules()`,
    `config` the denoiser's, for its own layers.
    """
    base = get_family(family)
    path = base.file_path(path, config or {}) if is_denoiser(part) else full_path(part, path)
    prefix = "lora_te1" if part == "text_encoder" and base.numbers_encoders else PREFIXES[part]
    return f"{prefix}_{path.replace('.', '_')}"


def diffusers_name(part: str, path: str) -> str:
    """The diffusers name of a layer, e.g. `text_encoder.text_model.encoder.layers.0.mlp.fc1`."""
    return f"{part}.{full_path(part, path)}"


ORIGINAL_STARTS = ("diffusion_model.", "model.diffusion_model.", "unet.", "")
"""What programs put before paths in the original layout."""
TRANSFORMER_PATHS = (
    "transformer_blocks.",
    "single_transformer_blocks.",
    "layers.",
    "noise_refiner.",
    "context_refiner.",
)
TRANSFORMER_ORIGINALS = (
    *("joint_blocks.", "double_blocks.", "single_blocks.", "final_layer.", "distilled_guidance_layer."),
    *("x_embedder.", "t_embedder.", "y_embedder.", "context_embedder.", "cap_embedder."),
    *("img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in."),
)
"""Starts of paths of a transformer's layers, in diffusers and in the original layout."""
TRANSFORMER_STARTS = (*TRANSFORMER_PATHS, *TRANSFORMER_ORIGINALS)
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
    "transformer": (
        *("transformer.", "lora_transformer_", "base_model.model.transformer_blocks."),
        *(f"{start}_{path[:-1]}_" for start in ("lycoris", "lora_unet") for path in TRANSFORMER_STARTS),
        *(f"{start}{path}" for start in ORIGINAL_STARTS for path in TRANSFORMER_STARTS),
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
    base, names = get_family(family), dict[str, tuple[str, str]]()
    for part, net in parts.items():
        kinds = nn.Linear | nn.Conv2d | nn.GroupNorm | nn.LayerNorm
        paths = [path for path, layer in net.named_modules() if isinstance(layer, kinds)]
        if is_denoiser(part):
            found = _denoiser_names(part, paths, base, network_config(net))
        else:
            found = ((name, path) for path in paths for name in _encoder_names(part, path, base))
        for name, path in found:
            names.setdefault(name, (part, path))
    return names


def _denoiser_names(
    part: str, paths: Sequence[str], base: Family, config: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Names of the denoiser's layers with their paths; those that other layers have, too, come last."""
    originals = {each.paths[0]: each.name for each in base.original_layers(config, paths) if len(each.paths) == 1}
    for path in paths:
        flat, original = path.replace(".", "_"), originals.get(path)
        yield kohya_name(part, path, base.name, config), path
        yield diffusers_name(part, path), path
        yield from ((name, path) for name in (f"lora_unet_{flat}", f"lycoris_{flat}", f"base_model.model.{path}", path))
        if original is not None:
            underscored = original.replace(".", "_")
            yield f"lora_unet_{underscored}", path
            # ComfyUI saves its own paths, and OneTrainer the original ones with or without a prefix.
            for start in ORIGINAL_STARTS:
                yield f"{start}{original}", path
            yield f"oft_unet_{underscored}", path
        yield f"oft_unet_{flat}", path


def _encoder_names(part: str, path: str, base: Family) -> Iterator[str]:
    short, whole = path.removeprefix("text_model."), full_path(part, path)
    yield kohya_name(part, path, base.name)
    yield diffusers_name(part, path)
    yield f"{part}.{short}"
    is_open = base.encoder_layouts.get(part) == "open_clip"
    called = "clip_l" if not is_open else "clip_g" if base.numbers_encoders else "clip_h"
    for start in ("text_encoders.", ""):
        yield from (f"{start}{called}.transformer.{whole}", f"{start}{called}.{whole}", f"{start}{called}.{short}")
    if not base.numbers_encoders:  # ambiguous with two encoders
        yield from (f"lora_te1_{whole.replace('.', '_')}", f"cond_stage_model.transformer.{whole}")
        yield from (f"base_model.model.{whole}", f"base_model.model.{short}")


def attention_siblings(path: str) -> tuple[str, ...]:
    """The four projections of a layer's text-encoder attention; empty for other layers."""
    projections = ("q_proj", "k_proj", "v_proj", "out_proj")
    parent, _, last = path.rpartition(".")
    if last not in projections or not parent.endswith("self_attn"):
        return ()
    return tuple(f"{parent}.{name}" for name in projections)
