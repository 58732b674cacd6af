"""From diffusers' tensor names of Stable Diffusion 3 to those of its authors' single files, written for the tests.

It shares no code with the loader, whose map it checks; diffusers' own converter checks it in turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from tests.trainers.models.ldm_names import vae_name

RENAMED = [
    (r"^pos_embed\.proj", "x_embedder.proj"),
    (r"^pos_embed\.pos_embed", "pos_embed"),
    (r"^time_text_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
    (r"^time_text_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
    (r"^time_text_embed\.text_embedder\.linear_1", "y_embedder.mlp.0"),
    (r"^time_text_embed\.text_embedder\.linear_2", "y_embedder.mlp.2"),
    (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
    (r"^proj_out", "final_layer.linear"),
    (r"^transformer_blocks", "joint_blocks"),
    (r"\.ff\.net\.0\.proj", ".x_block.mlp.fc1"),
    (r"\.ff\.net\.2", ".x_block.mlp.fc2"),
    (r"\.ff_context\.net\.0\.proj", ".context_block.mlp.fc1"),
    (r"\.ff_context\.net\.2", ".context_block.mlp.fc2"),
    (r"\.norm1\.linear", ".x_block.adaLN_modulation.1"),
    (r"\.norm1_context\.linear", ".context_block.adaLN_modulation.1"),
    (r"\.attn\.to_add_out", ".context_block.attn.proj"),
    (r"\.attn\.norm_added_([qk])", r".context_block.attn.ln_\1"),
    (r"\.(attn2?)\.to_out\.0", r".x_block.\1.proj"),
    (r"\.(attn2?)\.norm_([qk])", r".x_block.\1.ln_\2"),
    (r"\.(attn2?)\.to_([qkv])", r".x_block.\1.qkv.\2"),
    (r"\.attn\.add_([qkv])_proj", r".context_block.attn.qkv.\1"),
]


def mmdit_tensors(transformer: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The transformer's tensors in the authors' layout."""
    last = max(int(key.split(".")[1]) for key in transformer if key.startswith("transformer_blocks."))
    swapped = (f"joint_blocks.{last}.context_block.adaLN_modulation.1", "final_layer.adaLN_modulation.1")
    found: dict[str, Tensor] = {}
    fused: dict[str, dict[str, Tensor]] = {}
    for key, tensor in transformer.items():
        name = key
        for pattern, new in RENAMED:
            name = re.sub(pattern, new, name)
        if part := re.fullmatch(r"(.+\.qkv)\.([qkv])\.(weight|bias)", name):
            fused.setdefault(f"{part[1]}.{part[3]}", {})[part[2]] = tensor
        else:
            found[name] = torch.cat(tensor.chunk(2)[::-1]) if name.startswith(swapped) else tensor
    return found | {name: torch.cat([parts[each] for each in "qkv"]) for name, parts in fused.items()}


def sd3_tensors(pipeline: object, encoders: tuple[str, ...] = ("clip_l", "clip_g", "t5xxl")) -> dict[str, Tensor]:
    """All tensors of a checkpoint: the transformer, the autoencoder, and the text encoders that it includes."""
    parts = {name: getattr(pipeline, name) for name in ("transformer", "vae", *(ENCODERS[each] for each in encoders))}
    states = {name: network.state_dict() for name, network in parts.items()}
    found = {f"model.diffusion_model.{key}": each for key, each in mmdit_tensors(states["transformer"]).items()}
    for key, tensor in states["vae"].items():
        name = f"first_stage_model.{vae_name(key)}"
        found[name] = tensor[..., None, None] if ".mid.attn_1." in name and tensor.ndim == 2 else tensor
    for each in encoders:
        prefix = f"text_encoders.{each}.transformer."
        found |= {prefix + key: tensor for key, tensor in states[ENCODERS[each]].items()}
    return {name: tensor.clone().contiguous() for name, tensor in found.items()}


ENCODERS = {"clip_l": "text_encoder", "clip_g": "text_encoder_2", "t5xxl": "text_encoder_3"}
