"""Reads the settings of a training from a style file's metadata: kohya's `ss_` names, or our own config."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

PREFIX, OWN, DATASETS = "ss_", "velatura.config", "ss_datasets"
NAMES: Mapping[str, str] = {
    "sd_model_name": "pretrained_model_name_or_path", "batch_size_per_device": "train_batch_size",
    "num_epochs": "max_train_epochs", "debiased_estimation": "debiased_estimation_loss", "clip_skip": "clip_skip",
}  # fmt: skip
"""Names in metadata that differ from those of settings, without `ss_`."""
OF_THE_RUN = re.compile(
    r"ss_(tag_frequency|bucket_info|dataset_dirs|training_started_at|training_finished_at|session_id|"
    r"sd_model_hash|new_sd_model_hash|vae_hash|new_vae_hash|sd_scripts_commit_hash|output_name|num_train_images|"
    r"num_reg_images|num_batches_per_epoch|epoch|steps|base_model_version|cache_latents|lowram|full_fp16|"
    r"training_comment|face_crop_aug_range|color_aug|vae_name|total_batch_size|num_epochs_total)|(?!ss_).*"
)
"""Metadata that is not about settings."""
OF_DATASETS: Mapping[str, str] = {
    "batch_size_per_device": "batch_size",
    **{name: name for name in ("resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso")},
}
"""Settings of one dataset there, and their names in a dataset config."""
OF_SUBSETS = (
    "num_repeats", "flip_aug", "random_crop", "shuffle_caption", "keep_tokens", "enable_wildcard", "is_reg",
    "image_dir", "class_tokens",
)  # fmt: skip
CALL = re.compile(r"([\w.]+)\((.*)\)", re.DOTALL)


CIVITAI: Mapping[str, str] = {
    "unetLR": "unet_lr", "textEncoderLR": "text_encoder_lr", "networkDim": "network_dim", "clipSkip": "clip_skip",
    "networkAlpha": "network_alpha", "lrScheduler": "lr_scheduler", "lrSchedulerNumCycles": "lr_scheduler_num_cycles",
    "targetSteps": "max_train_steps", "trainBatchSize": "train_batch_size", "minSnrGamma": "min_snr_gamma",
    "noiseOffset": "noise_offset", "optimizerType": "optimizer_type", "optimizerArgs": "optimizer_args",
    "enableBucket": "enable_bucket", "shuffleCaption": "shuffle_caption", "keepTokens": "keep_tokens",
    "flipAugmentation": "flip_aug", "numRepeats": "num_repeats", "maxTrainEpochs": "epoch", "loraType": "LoRA_type",
}  # fmt: skip
"""Names of civitai's trainer, whose trainings run in the scripts; its steps decide, and epochs follow from them."""


def from_civitai(table: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings of civitai's trainer under kohya's names; None if a table has others."""
    inner = table.get("params")
    params = inner if isinstance(inner, Mapping) else table
    if not {"unetLR", "networkDim"} <= set(params):
        return None
    named = {CIVITAI.get(name, name): value for name, value in params.items() if name != "engine"}
    if isinstance(kind := named.get("LoRA_type"), str):
        named["LoRA_type"] = {"lora": "Standard", "lycoris": "LyCORIS/LoCon"}.get(kind, kind)
    return {name: value for name, value in named.items() if value is not None}


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
    if isinstance(config.get("data"), dict):
        config["data"].pop("images", None)
    return {name: value for name, value in config.items() if name != "name"}


def find_settings(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What in metadata is about settings, with its datasets as in a dataset config."""
    table = {name: value for name, value in metadata.items() if not OF_THE_RUN.fullmatch(name)}
    if isinstance(datasets := _read_json(table.pop(DATASETS, None)), list):
        table[DATASETS] = [_dataset(each) for each in datasets if isinstance(each, dict)]
    return table


def _dataset(dataset: Mapping[str, Any]) -> dict[str, Any]:
    subsets = dataset.get("subsets")
    chosen: dict[str, Any] = {OF_DATASETS[name]: value for name, value in dataset.items() if name in OF_DATASETS}
    for subset in subsets if isinstance(subsets, list) else []:
        if isinstance(subset, dict):
            settings = {name: subset[name] for name in OF_SUBSETS if subset.get(name) is not None}
            chosen.setdefault("subsets", []).append(settings)
    return chosen


def as_kohya(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The settings under kohya's names; values that are not set there are left out."""
    table: dict[str, Any] = {}
    for name, value in metadata.items():
        if str(value) in ("None", "", "null"):
            continue
        short = name.removeprefix(PREFIX)
        table[NAMES.get(short, short)] = value
    if match := CALL.fullmatch(str(table.pop("optimizer", ""))):
        table["optimizer_type"], table["optimizer_args"] = match[1], match[2]
    elif kind := metadata.get("ss_optimizer"):
        table["optimizer_type"] = kind
    arguments = _read_json(table.pop("network_args", None))
    table |= arguments if isinstance(arguments, dict) else {}
    if "unet_lr" in table or "text_encoder_lr" in table:
        table.setdefault("text_encoder_lr", 0)  # it was not trained
    return {name: {"True": True, "False": False}.get(str(value), value) for name, value in table.items()}


def _read_json(value: Any) -> Any:
    """The value in a text of JSON; None if it is damaged."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None
