"""Bases in diffusers layout with random weights: of full size, or tiny for a CPU (`bases.toml`)."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from trainers.models.files.configs import config_tree
from trainers.models.files.single_file import shipped_tokenizer
from trainers.models.full_size import build_from_config

PIECES = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz0123456789.,<>-"]
"""T5's vocabulary is not bundled."""


def kinds() -> dict[str, dict[str, Any]]:
    """The bases by title."""
    return tomllib.loads(Path(__file__).with_name("bases.toml").read_text("utf-8"))


def write_base(kind: Mapping[str, Any], folder: Path, tiny: bool, device: torch.device) -> Path:
    """Write a base of this kind with random weights in bf16, drawn on `device`, to `folder`; return it."""
    tree = config_tree(kind["tree"])
    shutil.copytree(tree, folder)
    for part in sorted(path.parent.name for path in tree.glob("*/config.json")):
        config = json.loads((tree / part / "config.json").read_text("utf-8"))
        config |= kind.get("tiny" if tiny else "few", {}).get(part, {})
        (folder / part / "config.json").write_text(json.dumps(config), "utf-8")
        name = "model" if part.startswith("text_encoder") else "diffusion_pytorch_model"
        save_file(random_weights(config, device), folder / part / f"{name}.safetensors", {"format": "pt"})
    for settings in tree.glob("tokenizer*/tokenizer_config.json"):
        part, sort = settings.parent.name, json.loads(settings.read_text("utf-8"))["tokenizer_class"]
        tokenizer = shipped_tokenizer(tree, part) if sort == "CLIPTokenizer" else _letters()
        tokenizer.save_pretrained(str(folder / part))
    return folder


def random_weights(config: Mapping[str, Any], device: torch.device) -> dict[str, Tensor]:
    """Random weights of a config's network in bf16, small enough to stay finite in fp16 too."""
    draw, weights = torch.Generator(device).manual_seed(0), {}
    for name, shape in ((name, p.shape) for name, p in build_from_config(dict(config)).named_parameters()):
        values = torch.empty(shape, dtype=torch.bfloat16, device=device)
        if len(shape) > 1:
            bound = values[0].numel() ** -0.5
            values.uniform_(-bound, bound, generator=draw)
        else:
            values.fill_(1.0 if name.endswith("weight") else 0.0)
        weights[name] = values.cpu()
    return weights


def _letters() -> Any:
    from transformers import T5Tokenizer

    scores = [(piece, 0.0 if place < 3 else -float(place)) for place, piece in enumerate(PIECES)]
    return T5Tokenizer(vocab=scores, extra_ids=0, model_max_length=512)
