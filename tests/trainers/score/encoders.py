"""Encoders as small as they can be, with random weights, in the files and the place that the real ones have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.trainers.captioning.captioners import shaken
from trainers.score.encoders import ENCODERS

SIDE = 32
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": SIDE, "patch_size": 16}
COLOURS = {
    "dinov2": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "clip": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
}
"""Mean and deviation of each colour by which the real ones are normalised."""


def write_encoder(cache: Path, name: str) -> Path:
    """An encoder in a hub cache: a snapshot and the ref to it; its folder."""
    root = cache / f"models--{ENCODERS[name].model.replace('/', '--')}"
    folder = root / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    shaken(_network(name)).save_pretrained(folder)
    mean, deviation = COLOURS[name]
    facts: dict[str, Any] = {"image_mean": mean, "image_std": deviation, "resample": 3}
    facts |= {"do_resize": True, "do_center_crop": True, "do_normalize": True}
    if name == "clip":  # the names of an early version of transformers
        facts |= {"feature_extractor_type": "CLIPFeatureExtractor", "size": SIDE, "crop_size": SIDE}
    else:
        facts |= {"image_processor_type": "BitImageProcessor", "do_convert_rgb": True, "do_rescale": True}
        facts |= {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def _network(name: str) -> torch.nn.Module:
    """DINOv2, or CLIP with its text encoder, which the real file has, too."""
    from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

    if name == "dinov2":
        return Dinov2Model(Dinov2Config(**SIZES, mlp_ratio=2))
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 8}
    vision = SIZES | {"intermediate_size": 32, "projection_dim": 12}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
