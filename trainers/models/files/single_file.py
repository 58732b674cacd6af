"""Loads a base from one `.safetensors` checkpoint in the original layout, with bundled configs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainers.errors import VelaturaError
from trainers.models.files.configs import config_tree
from trainers.models.files.folder import first_line, read_json
from trainers.models.files.tensors import CUT, missing_tensors
from trainers.models.quiet import quietly

OLD_TEXT = "cond_stage_model.transformer."
"""Prefix of the text encoder; early SD 1 checkpoints lack the `text_model.` after it."""


def load_single_file(
    path: Path, tree: Path, dtype: torch.dtype, unread: Mapping[str, nn.Module] | None = None
) -> dict[str, Any]:
    """Load the parts `unet`, `vae` (fp32), `text_encoder`, `tokenizer` (SDXL also `_2`) of a checkpoint, by name.

    `tree` is a complete config folder in diffusers layout; nothing is downloaded. `unread` holds UNet and text encoders
    that are read later. VelaturaError if tensors are missing or do not fit the tree.
    """
    import diffusers
    from safetensors import SafetensorError

    pipeline = getattr(diffusers, read_json(tree / "model_index.json")["_class_name"])
    second = (tree / "text_encoder_2").is_dir()
    names = ["unet", "vae", "text_encoder", *(["text_encoder_2"] if second else [])]
    ready: dict[str, Any] = {
        part: shipped_tokenizer(tree, part) for part in ("tokenizer", *(["tokenizer_2"] if second else []))
    }
    local = {"config": str(tree), "local_files_only": True}
    try:
        with quietly():
            ready["vae"] = diffusers.AutoencoderKL.from_single_file(
                str(path), subfolder="vae", dtype=torch.float32, **local
            )
            if unread is None:
                ready |= _early_text_encoder(path, tree, dtype)
                loaded = pipeline.from_single_file(str(path), dtype=dtype, **local, **ready)
    except NotImplementedError as error:  # raised by torch for tensors that were never loaded
        part = "unet" if "vae" in ready else "vae"
        raise VelaturaError("{name} lacks tensors of the {part}: {cut}", name=path.name, part=part, cut=CUT) from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise VelaturaError("cannot load {name}: {error}", name=path.name, error=first_line(error)) from error
    if unread is not None:
        _check_complete(ready["vae"], "vae", path)
        return ready | dict(unread)
    parts = {name: getattr(loaded, name) for name in [*names, *ready]}
    for name in names:
        _check_complete(parts[name], name, path)
    return parts


def shipped_tokenizer(tree: Path, part: str) -> Any:
    """CLIP's tokenizer with the padding set in `part` of a config tree."""
    from transformers import CLIPTokenizer

    settings = read_json(tree / part / "tokenizer_config.json")
    vocabulary = tree / part if (tree / part / "tokenizer.json").is_file() else config_tree("vocabulary")
    return CLIPTokenizer.from_pretrained(
        str(vocabulary), local_files_only=True, pad_token=settings["pad_token"], model_max_length=77
    )


def _early_text_encoder(path: Path, tree: Path, dtype: torch.dtype) -> dict[str, nn.Module]:
    """The text encoder of an early SD 1 checkpoint, whose names diffusers does not support; empty for other files."""
    import transformers
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        keys = [key for key in file.keys() if key.startswith(OLD_TEXT)]  # noqa: SIM118
        if not keys or any(key.startswith(OLD_TEXT + "text_model.") for key in keys):
            return {}
        weights = {key.removeprefix(OLD_TEXT): file.get_tensor(key) for key in keys}
    config = transformers.CLIPTextConfig.from_pretrained(str(tree / "text_encoder"), local_files_only=True)
    encoder: Any = transformers.CLIPTextModel(config)
    missing, _ = encoder.load_state_dict(weights, strict=False)
    if missing:
        raise VelaturaError(
            "{name} lacks {count} tensors of the text encoder such as {missing}: {cut}",
            name=path.name,
            count=len(missing),
            missing=missing[0],
            cut=CUT,
        )
    return {"text_encoder": encoder.to(dtype)}


def _check_complete(network: nn.Module, name: str, path: Path) -> None:
    empty = [key for key, tensor in network.named_parameters() if tensor.is_meta]
    if empty:
        raise missing_tensors(path.name, name, empty)
