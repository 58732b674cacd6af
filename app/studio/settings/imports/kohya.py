"""Settings of kohya_ss: what its interface saves as JSON, and the TOML files of its scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.studio.names import safe_name
from app.studio.settings.imports.report import (
    UNREADABLE,
    Imported,
    NotHereError,
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
from trainers.messages import Message as _

PROGRAM = "kohya_ss"
SIGNS = {
    "pretrained_model_name_or_path", "network_module", "network_dim", "LoRA_type", "max_train_epochs", "train_data_dir",
    "train_batch_size", "output_name", "lr_scheduler",
}  # fmt: skip
"""Names by which a file of it is known; it has several."""
ALGORITHMS = {
    "standard": "lora", "networks.lora": "lora", "kohya locon": "lora", "lora-fa": "lora", "networks.lora_fa": "lora",
    "kohya dylora": "dylora", "networks.dylora": "dylora", "lycoris/locon": "lora", "lycoris/loha": "loha",
    "lycoris/lokr": "lokr", "lora": "lora", "locon": "lora", "loha": "loha", "lokr": "lokr", "lycoris.kohya": "lora",
}  # fmt: skip
OPTIMIZERS = {
    "adamw": "adamw", "adamw8bit": "adamw8bit", "pagedadamw": "paged-adamw", "pagedadamw8bit": "paged-adamw8bit",
    "adafactor": "adafactor", "prodigy": "prodigy", "lion": "lion",
}  # fmt: skip
SCHEDULES = {
    "constant": "constant", "constant_with_warmup": "constant", "cosine": "cosine", "linear": "linear",
    "polynomial": "polynomial",
}  # fmt: skip
SAMPLERS = {
    "ddim": "ddim", "euler": "euler", "euler_a": "euler a", "heun": "heun", "dpmsolver++": "dpm++",
    "dpmsolver": "dpm++",
}  # fmt: skip
LAYERS = {"full": "full", "attn-mlp": "attn-mlp", "attn-only": "attn", "unet-transformer-only": "attn-mlp"}
NUMBER_FORMATS = {"fp16": "fp16", "bf16": "bf16", "no": "fp32", "float": "fp32", "fp32": "fp32"}


def _tokens(value: Any) -> int:
    """Tokens of a caption as pieces of 75."""
    if whole(value) not in (75, 150, 225):
        raise NotHereError
    return whole(value) // 75


RULES: Mapping[str, Rule] = {
    "network_dim": Rule("method.rank", whole),
    "network_alpha": Rule("method.alpha", above),
    "network_dropout": Rule("method.dropout", number),
    "rank_dropout": Rule("method.rank_dropout", number),
    "module_dropout": Rule("method.module_dropout", number),
    "max_train_steps": Rule("train.steps", whole),
    "train_batch_size": Rule("train.batch_size", whole),
    "gradient_accumulation_steps": Rule("train.accumulation", whole),
    "learning_rate": Rule("train.learning_rate", above),
    "unet_lr": Rule("train.learning_rate", above),
    "optimizer_type": Rule("train.optimizer", one_of(OPTIMIZERS)),
    "optimizer": Rule("train.optimizer", one_of(OPTIMIZERS)),
    "lr_scheduler": Rule("train.schedule", one_of(SCHEDULES)),
    "max_grad_norm": Rule("train.max_grad_norm", number),
    "gradient_checkpointing": Rule("train.gradient_checkpointing", switch),
    "mixed_precision": Rule("train.precision", one_of(NUMBER_FORMATS)),
    "save_precision": Rule("save.precision", one_of(NUMBER_FORMATS)),
    "save_every_n_steps": Rule("save.every", whole),
    "training_comment": Rule("save.description", str),
    "seed": Rule("seed", whole),
    "resolution": Rule("data.resolution", square),
    "max_resolution": Rule("data.resolution", square),
    "flip_aug": Rule("data.flip", switch),
    "random_crop": Rule("data.crop", lambda value: "random" if switch(value) else "centre"),
    "shuffle_caption": Rule("data.shuffle_tags", switch),
    "keep_tokens": Rule("data.keep_tags", lambda value: int(number(value))),
    "caption_dropout_rate": Rule("data.caption_dropout", number),
    "max_token_length": Rule("data.chunks", _tokens),
    "cache_latents": Rule("data.cache", switch),
    "noise_offset": Rule("loss.noise_offset", number),
    "loss_type": Rule("loss.kind", one_of({"l2": "mse", "huber": "huber"})),
    "clip_skip": Rule("base.clip_skip", whole),
    "v_parameterization": Rule("base.prediction", lambda value: "v_prediction" if switch(value) else "auto"),
    "zero_terminal_snr": Rule("base.zero_terminal_snr", lambda value: "on" if switch(value) else "auto"),
    "sample_every_n_steps": Rule("sample.every", whole),
    "sample_sampler": Rule("sample.sampler", one_of(SAMPLERS)),
}
LORA_ONLY: Mapping[str, Rule] = {
    "dora_wd": Rule("method.dora", switch),
    "rs_lora": Rule("method.rslora", switch),
}
LOKR_ONLY: Mapping[str, Rule] = {
    "factor": Rule("method.factor", int),
    "decompose_both": Rule("method.decompose_both", switch),
    "full_matrix": Rule("method.full_matrix", switch),
}
KNOWN: Mapping[str, Reason] = {
    "pretrained_model_name_or_path": "path", "vae": "path", "train_data_dir": "path", "output_dir": "path",
    "logging_dir": "path", "reg_data_dir": "path", "dataset_config": "path", "network_weights": "path",
    "lora_network_weights": "path", "resume": "path", "in_json": "path", "model_list": "path",
    "sample_prompts": "elsewhere", "caption_extension": "elsewhere", "prior_loss_weight": "elsewhere",
    "max_train_epochs": "epochs", "epoch": "epochs", "save_every_n_epochs": "epochs", "sample_every_n_epochs": "epochs",
    "v2": "family", "sdxl": "family", "flux1_checkbox": "family", "sd3_checkbox": "family",
}  # fmt: skip


def read_kohya(file: Mapping[str, Any]) -> Imported:
    """Read settings of kohya_ss; sections of its TOML files are only headings."""
    flat: dict[str, Any] = {}
    for name, value in file.items():
        flat |= value if isinstance(value, dict) else {name: value}
    flat = {name: value for name, value in flat.items() if isinstance(name, str)}
    arguments = _arguments(flat.pop("network_args", [])) | _arguments(flat.pop("optimizer_args", []))
    reading = Reading(PROGRAM, {**arguments, **flat})
    _method(reading)
    reading.apply(RULES)
    _text_encoder(reading)
    _weighting(reading)
    _warmup(reading)
    if "weight_decay" in reading.found:
        reading.apply({"weight_decay": Rule("train.weight_decay", number)})
    if name := safe_name(str(reading.found.get("output_name") or "")):
        reading.take("output_name", "name", name)
    reading.leave_rest(KNOWN)
    return reading.finish()


def _arguments(found: Any) -> dict[str, Any]:
    """Arguments such as `conv_dim=8`, in a list or a line."""
    parts = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
    pairs = (str(part).partition("=") for part in parts)
    return {name.strip(): value.strip().strip("\"'") for name, separator, value in pairs if separator}


def _method(reading: Reading) -> None:
    """The method, the layers it is trained on, and what only some methods have."""
    found = reading.found
    named = next((name for name in ("algo", "LoRA_type", "network_module") if found.get(name)), "")
    try:
        method = one_of(ALGORITHMS)(found[named]) if named else "lora"
    except NotHereError:
        reading.leave(named, "value")
        method = "lora"
    else:
        if named:
            reading.take(named, "method.name", method)
    reading.settings.setdefault("method.name", method)
    kind = str(found.get(named, "")).lower()
    if "fa" in kind.split("-") or kind.endswith("lora_fa"):
        reading.take(named, "method.freeze_a", True)
    if method == "lora":
        reading.apply(LORA_ONLY)
    if method == "lokr":
        reading.apply(LOKR_ONLY)
        if "method.full_matrix" not in reading.settings:  # LyCORIS keeps the large factor low-rank unless it is told
            reading.take(named, "method.full_matrix", False)
    _layers(reading, method, kind)


def _layers(reading: Reading, method: str, kind: str) -> None:
    found = reading.found
    preset = next((name for name in ("LyCORIS_preset", "preset") if found.get(name)), "")
    convolutions = str(found.get("conv_dim") or "0")
    if "lycoris" in kind or "algo" in found:
        wanted = str(found.get(preset) or "full").lower()
        if wanted in LAYERS:
            reading.take(preset or "preset", "targets.unet", LAYERS[wanted], was=wanted)
        elif preset:
            reading.leave(preset, "value")
    elif method == "lora" and (kind == "kohya locon" or "conv_dim" in found) and convolutions not in ("0", "1"):
        reading.take("conv_dim", "targets.unet", "full")
    else:
        reading.take("network_module", "targets.unet", "attn-mlp", was=_("attention and feed-forward"))
    for name, dim in (("conv_dim", "network_dim"), ("conv_alpha", "network_alpha")):
        same = str(found.get(name)) == str(found.get(dim))
        if name in found and not same and not any(one.name == name for one in reading.taken):
            reading.leave(name, "unknown")


def _text_encoder(reading: Reading) -> None:
    """It is trained there unless it is turned off."""
    found = reading.found
    rate = found.get("text_encoder_lr")
    rate = rate[0] if isinstance(rate, list) and rate else rate
    only = next((name for name in ("network_train_unet_only", "train_unet_only") if found.get(name)), "")
    off = bool(only) or rate in (0, "0", 0.0)
    name = only or "text_encoder_lr"
    reading.take(name, "targets.text_encoder", "none" if off else "attn-mlp", was=not off)
    if not off and rate not in (None, ""):
        reading.apply({"text_encoder_lr": Rule("train.text_encoder_learning_rate", lambda _: above(rate))})


def _weighting(reading: Reading) -> None:
    """Steps are weighted there only if a gamma is set."""
    gamma = reading.found.get("min_snr_gamma")
    try:
        reading.take("min_snr_gamma", "loss.min_snr_gamma", above(gamma))
        reading.take("min_snr_gamma", "loss.weighting", "min-snr")
    except UNREADABLE:
        reading.take("min_snr_gamma", "loss.weighting", "none", was=False)


def _warmup(reading: Reading) -> None:
    """Steps, a share of all steps below 1, or per cent of them."""
    steps = reading.settings.get("train.steps")
    for name, of in (("lr_warmup_steps", 1.0), ("lr_warmup", 100.0)):
        try:
            wanted = above(reading.found.get(name))
            share = wanted / of if name == "lr_warmup" or wanted < 1 else 0.0
            if share and not steps:
                reading.leave(name, "epochs")
            else:
                reading.take(name, "train.warmup", round(share * steps) if share and steps else int(wanted))
            return
        except UNREADABLE:
            continue
