"""Reads the settings of a training from a style file's metadata: kohya's `ss_` names, or our own config."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

PREFIX, OWN = "ss_", "velatura.config"
NAMES: Mapping[str, str] = {
    "sd_model_name": "pretrained_model_name_or_path", "batch_size_per_device": "train_batch_size",
    "num_epochs": "max_train_epochs", "debiased_estimation": "debiased_estimation_loss", "clip_skip": "clip_skip",
}  # fmt: skip
"""Names in metadata that differ from those of settings, without `ss_`."""
OF_THE_RUN = re.compile(
    r"ss_(tag_frequency|bucket_info|dataset_dirs|datasets|training_started_at|training_finished_at|session_id|"
    r"sd_model_hash|new_sd_model_hash|vae_hash|new_vae_hash|sd_scripts_commit_hash|output_name|num_train_images|"
    r"num_reg_images|num_batches_per_epoch|epoch|steps|base_model_version|cache_latents|lowram|full_fp16|"
    r"training_comment|face_crop_aug_range|color_aug|vae_name|total_batch_size|num_epochs_total)|(?!ss_).*"
)
"""Metadata that is not about settings."""
CALL = re.compile(r"([\w.]+)\((.*)\)", re.DOTALL)


def is_metadata(table: Mapping[str, Any]) -> bool:
    """Whether a table is the metadata of a style file with settings."""
    return OWN in table or any(name.startswith(PREFIX) for name in table)


def own_config(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings in one of our files as a table; None in those of others."""
    try:
        config = json.loads(metadata[OWN])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    config.get("data", {}).pop("images", None)
    return {name: value for name, value in config.items() if name != "name"}


def as_kohya(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The settings under kohya's names; values that are not set there are left out."""
    table: dict[str, Any] = {}
    for name, value in metadata.items():
        if OF_THE_RUN.fullmatch(name) or str(value) in ("None", "", "null"):
            continue
        short = name.removeprefix(PREFIX)
        table[NAMES.get(short, short)] = value
    if match := CALL.fullmatch(str(table.pop("optimizer", ""))):
        table["optimizer_type"], table["optimizer_args"] = match[1], _arguments(match[2])
    elif kind := metadata.get("ss_optimizer"):
        table["optimizer_type"] = kind
    table |= _network_arguments(table.pop("network_args", None))
    if "unet_lr" in table or "text_encoder_lr" in table:
        table.setdefault("text_encoder_lr", 0)  # it was not trained
    return {name: {"True": True, "False": False}.get(str(value), value) for name, value in table.items()}


def _arguments(line: str) -> list[str]:
    """Arguments of a call, `weight_decay=0.1,betas=(0.9, 0.99)`, one text each."""
    return [part.strip() for part in re.split(r",\s*(?=\w+=)", line) if "=" in part]


def _network_arguments(value: Any) -> dict[str, Any]:
    try:
        arguments = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return dict(arguments) if isinstance(arguments, Mapping) else {}
