"""Tiny, randomly initialised bases of every family, complete enough for every tool that loads a real one.

The same seed gives the same weights as a diffusers folder and as a single file in the original layout.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.trainers.models.ldm_names import single_file
from trainers.models.files.configs import CONFIGS
from trainers.models.files.source import starter_folder
from trainers.models.full_size import build_from_config
from trainers.randomness import generator

FAMILIES = ("sd1", "sd2", "sd2-v", "sdxl")

# What shrinks of the shipped configs: two levels where the real networks have three or four, two layers a block as in
# the real ones, widths that are never equal by accident.
TEXT: dict[str, Any] = {
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "vocab_size": 8192,
    "bos_token_id": 8190,
    "eos_token_id": 8191,
    "pad_token_id": 8191,
}
UNET: dict[str, Any] = {"block_out_channels": [32, 64], "norm_num_groups": 8, "sample_size": 8}
CROSS_FIRST = {
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
SHRUNK: dict[str, dict[str, dict[str, Any]]] = {
    "sd1": {
        "unet": {**UNET, **CROSS_FIRST, "cross_attention_dim": 24, "attention_head_dim": 4},
        "text_encoder": {**TEXT, "hidden_size": 24, "intermediate_size": 80, "projection_dim": 24},
    },
    "sd2": {
        "unet": {**UNET, **CROSS_FIRST, "cross_attention_dim": 40, "attention_head_dim": [2, 4]},
        "text_encoder": {**TEXT, "hidden_size": 40, "intermediate_size": 96, "projection_dim": 20},
    },
    "sdxl": {
        "unet": {
            **UNET,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
            "cross_attention_dim": 64,
            "attention_head_dim": [2, 4],
            "transformer_layers_per_block": [1, 2],
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 48 + 6 * 8,
        },
        "text_encoder": {**TEXT, "hidden_size": 24, "intermediate_size": 80, "projection_dim": 24},
        "text_encoder_2": {**TEXT, "hidden_size": 40, "intermediate_size": 96, "projection_dim": 48},
    },
}
SHRUNK["sd2-v"] = SHRUNK["sd2"]
VAE = {"block_out_channels": [8, 8, 16, 16], "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 64}


def tiny_configs(family: str) -> dict[str, dict[str, Any]]:
    """The configs of a tiny base's networks by folder name (`unet`, `vae`, `text_encoder`, SDXL `text_encoder_2`)."""
    shrunk = {**SHRUNK[family], "vae": VAE}
    return {
        part: json.loads((CONFIGS / family / part / "config.json").read_text("utf-8")) | small
        for part, small in shrunk.items()
    }


def tiny_weights(family: str, seed: int = 0) -> dict[str, dict[str, Tensor]]:
    """Random weights of a tiny base's networks by folder name, with no zero bias and no norm that does nothing."""
    weights = {}
    for part, config in tiny_configs(family).items():
        shapes = {name: tensor.shape for name, tensor in build_from_config(config).named_parameters()}
        weights[part] = {name: _random(name, shape, generator(seed, part, name)) for name, shape in shapes.items()}
    return weights


def _random(name: str, shape: torch.Size, draw: torch.Generator) -> Tensor:
    values = torch.randn(shape, generator=draw)
    if len(shape) == 1:
        return 0.1 * values + (1 if name.endswith("weight") else 0)
    if "embedding.weight" in name:
        return values
    return values / math.sqrt(math.prod(shape[1:]))


def tiny_folder(family: str, target: Path, seed: int = 0) -> Path:
    """Write a complete tiny base (`sd1`, `sd2`, `sd2-v`, `sdxl`) in diffusers layout to `target`; return it."""
    from transformers import CLIPTokenizer

    shutil.copytree(CONFIGS / family, target, dirs_exist_ok=True)
    configs, weights = tiny_configs(family), tiny_weights(family, seed)
    for part, config in configs.items():
        (target / part / "config.json").write_text(json.dumps(config, indent=2), "utf-8")
        tensors, file = weights[part], "diffusion_pytorch_model.safetensors"
        if part.startswith("text_encoder"):
            # Published bases name them with `text_model.`, whatever the installed transformers writes.
            projection = {key: tensor for key, tensor in tensors.items() if key.startswith("text_projection")}
            rest = {key.removeprefix("text_model."): tensor for key, tensor in tensors.items() if key not in projection}
            tensors = {f"text_model.{key}": tensor for key, tensor in rest.items()} | projection
            file = "model.safetensors"
        save_file(tensors, target / part / file, {"format": "pt"})
    for part in target.glob("tokenizer*"):
        padding = json.loads((part / "tokenizer_config.json").read_text("utf-8"))["pad_token"]
        tokenizer = CLIPTokenizer.from_pretrained(str(starter_folder() / "tokenizer"), pad_token=padding)
        tokenizer.save_pretrained(str(part))
    return target


def tiny_single_file(family: str, target: Path, seed: int = 0, metadata: dict[str, str] | None = None) -> Path:
    """Write the same tiny base as one `.safetensors` checkpoint in the original layout to `target`; return it.

    Loading it needs the tiny config trees (fixture `tiny_trees`). Random networks cannot be probed for what they
    predict, so the metadata says it.
    """
    up_blocks = SHRUNK[family]["unet"]["up_block_types"]
    attentive = {index for index, kind in enumerate(up_blocks) if kind.startswith("CrossAttn")}
    tensors = single_file(tiny_weights(family, seed), attentive)
    stated = {"modelspec.prediction_type": "v" if family == "sd2-v" else "epsilon"}
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, {"format": "pt"} | (stated if metadata is None else metadata))
    return target
