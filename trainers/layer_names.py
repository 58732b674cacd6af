"""Layer names for displaying ranks, with blocks in the order of the forward pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from trainers.adapters.layouts import LAYOUTS

MODULES = {name: layout.network for layout in LAYOUTS if layout.stages for name in layout.modules}
"""The kind of denoiser that has a module of this name; some files prefix transformers' layers as those of a UNet."""
STAGES = {name: place for layout in LAYOUTS for place, names in enumerate(layout.stages, 1) for name in names}
"""Order in the forward pass of the modules that hold a denoiser's blocks."""
START, STAGE = re.compile(rf"({'|'.join(MODULES)})(?:[._]|$)"), "|".join(STAGES)
BLOCK = re.compile(
    rf"(unet\.(?:{STAGE})(?:\.\d+)?(?:\.\w+\.\d+)?|transformer\.(?:{STAGE})\.\d+"
    r"|text_encoder\w*\.\S*?layers\.\d+)\."
)
NAMES = {name for layout in LAYOUTS for path in layout.names for name in path.split(".")}
TOGETHER = "|".join(sorted((name for name in NAMES if "_" in name and "*" not in name), key=len, reverse=True))
"""Parts of layer names with an underscore; files also use underscores for the dots."""
FLAT_STARTS = ("lora_unet_", "lora_transformer_", "lycoris_", "oft_unet_")
"""Prefixes of the denoiser's paths with underscores for the dots."""
DOTTED_STARTS = (
    *("", "diffusion_model.", "model.diffusion_model.", "unet.", "transformer.", "transformer.diffusion_model."),
    *(f"base_model.model.{start}" for start in ("", "diffusion_model.", "unet.", "transformer.")),
)
"""Prefixes of the denoiser's dotted paths, in diffusers' and in the original layout alike."""
ENCODER_STARTS = {
    "text_encoder_2": re.compile(r"(?:lora_te2_|text_encoder_2\.|(?:text_encoders\.)?clip_g[._](?:transformer\.)?)"),
    "text_encoder_3": re.compile(r"(?:lora_te3_|text_encoder_3\.|(?:text_encoders\.)?t5xxl\.(?:transformer\.)?)"),
    "text_encoder": re.compile(
        r"(?:lora_te1?_|text_encoder\.|(?:text_encoders\.)?clip_[lh]\.(?:transformer\.)?|text_encoders\."
        r"|cond_stage_model\.transformer\.|base_model\.model\.(?=text_model\.|encoder\.))"
    ),
}
"""Prefixes of a text encoder's paths; the first that matches counts."""
ATTENTION = ("to_q", "to_k", "to_v", "to_out", "q_proj", "k_proj", "v_proj", "out_proj")
"""Attention layers in the order of the forward pass; files have them in alphabetical order."""
ONLY_ONE = "transformer_blocks.0."


def split_start(stem: str) -> tuple[str, str]:
    """The part of the model that a layer's name in a file refers to, empty if unknown, and the rest of the name."""
    for part, starts in ENCODER_STARTS.items():
        if match := starts.match(stem):
            return part, stem[match.end() :]
    start = max((start for start in (*FLAT_STARTS, *DOTTED_STARTS) if stem.startswith(start)), key=len)
    rest = stem.removeprefix(start)
    if module := START.match(rest):
        return MODULES[module[1]], rest
    return "transformer" if "transformer" in start else "unet" if start else "", rest


def dotted(stem: str) -> str:
    """A layer's dotted name from its name in a file: `unet.down_blocks.1.attentions.0.proj_in`."""
    part, rest = split_start(stem)
    if not part:
        return stem
    if "." not in rest:
        rest = ".".join(re.findall(rf"(?:{TOGETHER})(?=_|$)|[^_]+", rest))
    return f"{part}.{rest.removeprefix('text_model.')}"


def block(layer: str) -> str:
    """The block of a layer, such as `unet.down_blocks.1.attentions.0`."""
    match = BLOCK.match(layer)
    return match[1] if match else layer.rpartition(".")[0]


def sort_layers(layers: Iterable[str]) -> list[str]:
    """Sort layers by part, in the order in which parts occur, and by the forward pass within the denoiser."""
    parts: dict[str, int] = {}
    blocks: dict[str, int] = {}
    layers = list(layers)
    for place, layer in enumerate(layers):
        parts.setdefault(layer.partition(".")[0], place)
        blocks.setdefault(block(layer), place)

    def position(layer: str) -> tuple[int, int, int, int]:
        way = re.match(rf"(?:unet|transformer)\.({STAGE})(?:\.(\d+))?\.", layer)
        stage, number = (STAGES[way[1]], int(way[2] or 0)) if way else (0, 0)
        return parts[layer.partition(".")[0]], stage, number, blocks[block(layer)]

    return sorted(layers, key=position)


def short_names(name: str, layers: Sequence[str]) -> list[str]:
    """Names of layers within their block, without the prefix that all share."""
    inner = [layer.removeprefix(f"{name}.").replace("to_out.0", "to_out") for layer in layers]
    several = any("transformer_blocks." in path and ONLY_ONE not in path for path in inner)
    return inner if several else [path.replace(ONLY_ONE, "") for path in inner]


def by_block(ranks: Mapping[str, int]) -> list[tuple[str, str]]:
    """Each block's name, and its layers' names with ranks, one line per attention."""
    blocks: dict[str, list[str]] = {}
    for layer in sort_layers(ranks):
        blocks.setdefault(block(layer), []).append(layer)
    texts = []
    for name, layers in blocks.items():
        lines: dict[str, list[tuple[str, int]]] = {}
        for short, layer in zip(short_names(name, layers), layers, strict=True):
            group = re.match(r"(.*?attn\d?|ff|mlp)\.(.+)", short)
            start, end = group.groups() if group else ("", short)
            lines.setdefault(start, []).append((end, ranks[layer]))
        texts.append((name, "\n".join(_line(start, pairs) for start, pairs in lines.items())))
    return texts


def _line(start: str, layers: Sequence[tuple[str, int]]) -> str:
    ordered = sorted(layers, key=lambda pair: ATTENTION.index(pair[0]) if pair[0] in ATTENTION else 0)
    return " ".join(filter(None, (start, *(f"{name}={rank}" for name, rank in ordered))))
