"""Settings of OneTrainer, which it saves as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.studio.settings.imports.report import (
    Imported,
    Reading,
    Reason,
    Rule,
    above,
    number,
    one_of,
    square,
    switch,
    whole,
)

PROGRAM = "OneTrainer"
SIGNS = {
    "training_method", "base_model_name", "peft_type", "lora_rank", "concept_file_name", "model_type",
    "learning_rate_scheduler", "output_model_destination",
}  # fmt: skip
"""Names by which a file of it is known; it has several."""
OPTIMIZERS = {
    "adamw": "adamw", "adamw_8bit": "adamw8bit", "adafactor": "adafactor", "prodigy": "prodigy", "lion": "lion",
}  # fmt: skip
SCHEDULES = {"constant": "constant", "linear": "linear", "cosine": "cosine"}
NUMBER_FORMATS = {"float_16": "fp16", "bfloat_16": "bf16", "float_32": "fp32"}
LAYERS = {"full": "full", "attn-mlp": "attn-mlp", "attn-only": "attn", "": "full"}

RULES: Mapping[str, Rule] = {
    "peft_type": Rule("method.name", one_of({"lora": "lora", "loha": "loha"})),
    "lora_rank": Rule("method.rank", whole),
    "lora_alpha": Rule("method.alpha", above),
    "dropout_probability": Rule("method.dropout", number),
    "lora_decompose": Rule("method.dora", switch),
    "lora_layer_preset": Rule("targets.unet", one_of(LAYERS)),
    "learning_rate": Rule("train.learning_rate", above),
    "unet.learning_rate": Rule("train.learning_rate", above),
    "text_encoder.learning_rate": Rule("train.text_encoder_learning_rate", above),
    "text_encoder.train": Rule("targets.text_encoder", lambda value: "attn-mlp" if switch(value) else "none"),
    "batch_size": Rule("train.batch_size", whole),
    "gradient_accumulation_steps": Rule("train.accumulation", whole),
    "learning_rate_scheduler": Rule("train.schedule", one_of(SCHEDULES)),
    "learning_rate_warmup_steps": Rule("train.warmup", lambda value: int(number(value))),
    "clip_grad_norm": Rule("train.max_grad_norm", number),
    "optimizer.optimizer": Rule("train.optimizer", one_of(OPTIMIZERS)),
    "optimizer.weight_decay": Rule("train.weight_decay", number),
    "gradient_checkpointing": Rule("train.gradient_checkpointing", switch),
    "train_dtype": Rule("train.precision", one_of(NUMBER_FORMATS)),
    "output_dtype": Rule("save.precision", one_of(NUMBER_FORMATS)),
    "resolution": Rule("data.resolution", square),
    "latent_caching": Rule("data.cache", switch),
    "seed": Rule("seed", whole),
    "offset_noise_weight": Rule("loss.noise_offset", number),
    "text_encoder_layer_skip": Rule("base.clip_skip", lambda value: whole(value) + 1),
    "force_v_prediction": Rule("base.prediction", lambda value: "v_prediction" if switch(value) else "auto"),
    "rescale_noise_scheduler_to_zero_terminal_snr": Rule(
        "base.zero_terminal_snr", lambda value: "on" if switch(value) else "auto"
    ),
}
KNOWN: Mapping[str, Reason] = {
    "base_model_name": "path", "output_model_destination": "path", "workspace_dir": "path", "cache_dir": "path",
    "concept_file_name": "path", "sample_definition_file_name": "path", "debug_dir": "path", "lora_model_name": "path",
    "concepts": "elsewhere", "samples": "elsewhere", "epochs": "epochs", "save_every": "epochs",
    "sample_after": "epochs", "backup_after": "epochs", "model_type": "family",
}  # fmt: skip
SILENT = ("__version", "unet", "text_encoder", "text_encoder_2", "optimizer", "optimizer_defaults")
"""Sections that are read, or that say nothing about a training."""


def read_onetrainer(file: Mapping[str, Any]) -> Imported:
    """Read settings of OneTrainer."""
    found: dict[str, Any] = {name: value for name, value in file.items() if name not in SILENT}
    for section, names in (
        ("unet", ("learning_rate",)),
        ("text_encoder", ("train", "learning_rate")),
        ("optimizer", ("optimizer", "weight_decay")),
    ):
        within = file.get(section)
        if isinstance(within, dict):
            found |= {f"{section}.{name}": within[name] for name in names if within.get(name) is not None}
    if isinstance(file.get("optimizer"), str):
        found["optimizer.optimizer"] = file["optimizer"]
    reading = Reading(PROGRAM, found)
    reading.apply(RULES)
    if found.get("training_method") not in (None, "LORA"):
        reading.leave("training_method", "value")
    _weighting(reading)
    _average(reading)
    reading.leave_rest({**KNOWN, "training_method": "family"} if found.get("training_method") != "LORA" else KNOWN)
    reading.left = [one for one in reading.left if (one.name, one.value) != ("training_method", "LORA")]
    if "targets.text_encoder" in reading.settings and reading.settings["targets.text_encoder"] == "none":
        reading.settings.pop("train.text_encoder_learning_rate", None)
    return reading.finish()


def _weighting(reading: Reading) -> None:
    """Weights of the steps; without a function, all count alike."""
    kind = str(reading.found.get("loss_weight_fn", "")).upper()
    if kind == "MIN_SNR_GAMMA":
        reading.take("loss_weight_fn", "loss.weighting", "min-snr")
        reading.apply({"loss_weight_strength": Rule("loss.min_snr_gamma", above)})
    elif kind == "CONSTANT":
        reading.take("loss_weight_fn", "loss.weighting", "none")


def _average(reading: Reading) -> None:
    """A moving average, if it is on."""
    if str(reading.found.get("ema", "OFF")).upper() in ("GPU", "CPU"):
        reading.take("ema", "train.ema", reading.found.get("ema_decay", 0.999))
    for name in ("ema_decay", "ema_update_step_interval"):
        if str(reading.found.get("ema", "OFF")).upper() == "OFF" and name in reading.found:
            reading.found = {each: value for each, value in reading.found.items() if each != name}
