"""Names of the layers of Stable Diffusion 3 in its authors' layout, where q, k and v are one layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainers.models.families.family import OriginalLayer

LAYERS: Mapping[str, tuple[str, ...]] = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block.attn.proj": ("attn.to_out.0",),
    "x_block.attn.ln_q": ("attn.norm_q",),
    "x_block.attn.ln_k": ("attn.norm_k",),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "x_block.attn2.proj": ("attn2.to_out.0",),
    "x_block.attn2.ln_q": ("attn2.norm_q",),
    "x_block.attn2.ln_k": ("attn2.norm_k",),
    "x_block.mlp.fc1": ("ff.net.0.proj",),
    "x_block.mlp.fc2": ("ff.net.2",),
    "x_block.adaLN_modulation.1": ("norm1.linear",),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "context_block.attn.proj": ("attn.to_add_out",),
    "context_block.attn.ln_q": ("attn.norm_added_q",),
    "context_block.attn.ln_k": ("attn.norm_added_k",),
    "context_block.mlp.fc1": ("ff_context.net.0.proj",),
    "context_block.mlp.fc2": ("ff_context.net.2",),
    "context_block.adaLN_modulation.1": ("norm1_context.linear",),
}
"""Layers of a block by path in the original layout, with their paths in diffusers."""
ENDS: Mapping[str, str] = {
    "x_embedder.proj": "pos_embed.proj",
    "context_embedder": "context_embedder",
    "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
    "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    "final_layer.linear": "proj_out",
}
"""The layers outside the blocks."""
SWAPPED = "final_layer.adaLN_modulation.1"
"""Scale and shift are in the opposite order to diffusers', here and for the text in the last block."""


def original_layers(config: Mapping[str, Any], paths: Sequence[str]) -> Iterator[OriginalLayer]:
    """The layers of the authors' layout that contain diffusers' layers at these paths, each once."""
    last, width = config["num_layers"] - 1, config["num_attention_heads"] * config["attention_head_dim"]
    for name, path in ENDS.items():
        if path in paths:
            yield OriginalLayer(name, (path,), swapped=name == SWAPPED)
    selected = set(paths)
    for block in range(last + 1):
        for name, inner in LAYERS.items():
            joined = tuple(f"transformer_blocks.{block}.{layer}" for layer in inner)
            if selected.intersection(joined):
                rows = (width,) * len(joined) if len(joined) > 1 else ()
                swapped = block == last and name == "context_block.adaLN_modulation.1"
                yield OriginalLayer(f"joint_blocks.{block}.{name}", joined, rows, swapped)
