"""Names of the layers of Flux and Chroma in their authors' layout, by diffusers' paths.

It joins q, k and v in one layer, and in single blocks also the first layer of the feed-forward.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainers.models.families.family import OriginalLayer

QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
ADDED_QKV = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
DOUBLE: Mapping[str, tuple[str, ...]] = {
    "img_attn.qkv": QKV,
    "txt_attn.qkv": ADDED_QKV,
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_attn.norm.query_norm": ("attn.norm_q",),
    "img_attn.norm.key_norm": ("attn.norm_k",),
    "txt_attn.norm.query_norm": ("attn.norm_added_q",),
    "txt_attn.norm.key_norm": ("attn.norm_added_k",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
}
SINGLE: Mapping[str, tuple[str, ...]] = {
    "linear1": (*QKV, "proj_mlp"),
    "linear2": ("proj_out",),
    "norm.query_norm": ("attn.norm_q",),
    "norm.key_norm": ("attn.norm_k",),
    "modulation.lin": ("norm.linear",),
}
ENDS: Mapping[str, str] = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
SWAPPED = "norm_out.linear"
"""The authors' layer outputs shift and scale, diffusers' scale and shift."""
BLOCK = re.compile(r"(single_)?transformer_blocks\.(\d+)\.(.+)")
APPROXIMATOR = re.compile(r"(distilled_guidance_layer\.layers\.\d+)\.linear_([12])")


def original_layers(config: Mapping[str, Any], paths: Sequence[str]) -> Iterator[OriginalLayer]:
    """The layers of the authors' layout that contain diffusers' layers at these paths, each once."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    return iter({layer.name: layer for layer in (original_layer(path, width) for path in paths)}.values())


def original_layer(path: str, width: int) -> OriginalLayer:
    """The layer of the authors' layout that contains diffusers' layer at this path, in a transformer of this width."""
    if block := BLOCK.fullmatch(path):
        single, number, inside = block.groups()
        names, stem = (SINGLE, "single") if single else (DOUBLE, "double")
        for name, layers in names.items():
            if inside in layers:
                start = path.removesuffix(inside)
                rows = tuple(4 * width if layer == "proj_mlp" else width for layer in layers)
                joined = tuple(f"{start}{layer}" for layer in layers)
                return OriginalLayer(f"{stem}_blocks.{number}.{name}", joined, rows if len(rows) > 1 else ())
    if layer := APPROXIMATOR.fullmatch(path):
        return OriginalLayer(f"{layer[1]}.{'in' if layer[2] == '1' else 'out'}_layer", (path,))
    return OriginalLayer(ENDS.get(path, path), (path,), swapped=path == SWAPPED)
