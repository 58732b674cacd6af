"""Layer names in style files: kohya's for most tools, dotted names for diffusers.

In kohya's names, the family decides whether the denoiser's layers have diffusers' paths or the original layout's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from torch import nn

from trainers.adapters.roles import is_denoiser
from trainers.errors import VelaturaError
from trainers.layer_names import DOTTED_STARTS, FLAT_STARTS, split_start
from trainers.messages import Message
from trainers.models.families import get_family
from trainers.models.families.family import Family
from trainers.models.full_size import build_from_config
from trainers.wrappers import named_modules

PREFIXES = {
    "unet": "lora_unet",
    "transformer": "lora_transformer",
    "text_encoder": "lora_te",
    "text_encoder_2": "lora_te2",
}

FLATTENED = ("embeddings", "encoder", "final_layer_norm")
"""Children of a CLIP text encoder's `text_model`, a level that transformers 5 omits from the plain encoder's paths."""
NUMBER = re.compile(r"\d+")
MOST_SHOWN = 8
"""Limit on the layer names in a sentence."""


def full_path(part: str, path: str) -> str:
    """A layer's path in files, where paths in text encoders begin with `text_model.`."""
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


def part_of(stem: str) -> str | None:
    """The part of the model that a layer's name in a file refers to; None for unknown conventions."""
    return split_start(stem)[0] or None


def network_config(network: nn.Module) -> dict[str, Any]:
    """The config of a diffusers network."""
    untyped: Any = network  # avoids importing diffusers for its types
    return dict(untyped.config)


def file_name(part: str, path: str, family: str, config: Mapping[str, Any] | None = None) -> str:
    """A layer's kohya name, or its part and path without a family."""
    return kohya_name(part, path, family, config) if family else f"{part}.{path}"


def layer_names(parts: Mapping[str, nn.Module], family: str) -> dict[str, tuple[str, str]]:
    """All names that files may use for layers of these parts, with the `(part, path)` of each layer."""
    names = dict[str, tuple[str, str]]()
    for part, net in parts.items():
        kinds = nn.Linear | nn.Conv2d | nn.GroupNorm | nn.LayerNorm
        paths = [path for path, layer in named_modules(net) if isinstance(layer, kinds)]
        pairs = _names(part, net, paths, get_family(family)) if family else ((f"{part}.{path}", path) for path in paths)
        names |= {name: (part, path) for name, path in pairs}
    return names


def denoiser_names(path: str) -> Iterator[str]:
    """All names that files may use for the denoiser's layer at a path in diffusers' or the original layout."""
    flat = path.replace(".", "_")
    yield from (f"{start}{flat}" for start in FLAT_STARTS)
    yield from (f"{start}{path}" for start in DOTTED_STARTS)


def check_names(style: str, stems: Iterable[str], parts: Mapping[str, nn.Module], family: str) -> None:
    """Raise VelaturaError if a style has layers with names that no base of the family has; see `unknown_names`."""
    if unknown := unknown_names(stems, parts, family):
        raise VelaturaError(
            "{name} has layers with names that are not known for {title}: {layers}; it may be for another kind of "
            "base, or of a program whose names Velatura does not read",
            name=style,
            title=get_family(family).title,
            layers=some(unknown),
        )


def unknown_names(stems: Iterable[str], parts: Mapping[str, nn.Module], family: str) -> list[str]:
    """The names that no base of the family has, however many blocks it has.

    `stems` are the names that these `parts` lack. Names of text encoders outside the parts are all known.
    """
    unknown = [stem for stem in stems if is_denoiser(part := part_of(stem) or "") or part in ("", *parts)]
    networks = chain((parts,), _outlines(family))
    while unknown and (network := next(networks, None)) is not None:
        known = _patterns(network, get_family(family))
        unknown = [stem for stem in unknown if NUMBER.sub("#", stem) not in known]
    return unknown


def some(stems: Sequence[str]) -> str:
    """The first names of a list, and the number of the others."""
    shown, others = ", ".join(stems[:MOST_SHOWN]), len(stems) - MOST_SHOWN
    return Message("{names} and {others} more", names=shown, others=others) if others > 0 else shown


def _outlines(family: str) -> Iterator[dict[str, nn.Module]]:
    """The networks of each variant of a family, without weights."""
    base = get_family(family)
    for tree in dict.fromkeys(variant.tree for variant in base.variants):
        configs = {part: json.loads((tree / part / "config.json").read_text("utf-8")) for part in base.parts}
        yield {part: build_from_config(config) for part, config in configs.items()}


def _patterns(parts: Mapping[str, nn.Module], base: Family) -> set[str]:
    """All names that files may use for modules with weights in these parts, with # for numbers."""
    names = dict[str, str]()
    for part, net in parts.items():
        owners = (path for path, layer in named_modules(net) if path and layer._parameters)
        names |= dict(_names(part, net, list(owners), base, joint=True))
    return {NUMBER.sub("#", name) for name in names}


def _names(
    part: str, net: nn.Module, paths: Sequence[str], base: Family, joint: bool = False
) -> Iterator[tuple[str, str]]:
    """Names of a part's layers with their paths; with `joint`, also of layers that join several of diffusers'."""
    if not is_denoiser(part):
        yield from ((name, path) for path in paths for name in _encoder_names(part, path, base))
        return
    for layer in base.original_layers(network_config(net), paths):
        if joint or layer.is_same:
            yield from ((name, layer.paths[0]) for name in denoiser_names(layer.name))
    yield from ((name, path) for path in paths for name in denoiser_names(path))


def _encoder_names(part: str, path: str, base: Family) -> Iterator[str]:
    short, full = path.removeprefix("text_model."), full_path(part, path)
    yield kohya_name(part, path, base.name)
    yield diffusers_name(part, path)
    yield f"{part}.{short}"
    first = "clip_h" if base.encoder_layouts.get(part) == "open_clip" else "clip_l"
    clip = "clip_g" if part == "text_encoder_2" else first
    for start in ("text_encoders.", ""):
        yield from (f"{start}{clip}.transformer.{full}", f"{start}{clip}.{full}", f"{start}{clip}.{short}")
    if not base.numbers_encoders:  # ambiguous with two encoders
        yield from (f"lora_te1_{full.replace('.', '_')}", f"cond_stage_model.transformer.{full}")
        yield from (f"base_model.model.{full}", f"base_model.model.{short}")


def attention_siblings(path: str) -> tuple[str, ...]:
    """The four projections of a layer's text-encoder attention; empty for other layers."""
    projections = ("q_proj", "k_proj", "v_proj", "out_proj")
    parent, _, last = path.rpartition(".")
    if last not in projections or not parent.endswith("self_attn"):
        return ()
    return tuple(f"{parent}.{name}" for name in projections)
