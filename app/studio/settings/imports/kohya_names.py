"""kohya_ss's names of settings, with their keys here, or why they are not taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.studio.settings.imports.reading import Rule
from app.studio.settings.imports.report import Reason, because
from app.studio.settings.imports.values import (
    PRECISIONS,
    SCHEDULES,
    NotHereError,
    above,
    number,
    one_of,
    optimizer,
    square,
    switch,
    whole,
)

ALGORITHMS = {
    "standard": "lora", "networks.lora": "lora", "kohya locon": "lora", "lora-fa": "lora", "networks.lora_fa": "lora",
    "kohya dylora": "dylora", "networks.dylora": "dylora", "lycoris/locon": "lora", "lycoris/loha": "loha",
    "lycoris/lokr": "lokr", "lycoris/dylora": "dylora", "lycoris/ia3": "ia3", "lycoris/native fine-tuning": "full",
    "lora": "lora", "locon": "lora", "loha": "loha", "lokr": "lokr", "dylora": "dylora", "ia3": "ia3", "full": "full",
    "lycoris.kohya": "lora", "flux1": "lora", "networks.lora_flux": "lora", "networks.lora_sd3": "lora",
}  # fmt: skip
POWERS = {"1": "linear", "2": "polynomial"}
"""Polynomial schedules by power."""
SAMPLERS = {
    "ddim": "ddim", "euler": "euler", "k_euler": "euler", "euler_a": "euler a", "k_euler_a": "euler a", "heun": "heun",
    "dpmsolver++": "dpm++", "dpmsolver": "dpm++",
}  # fmt: skip
LAYERS = {"full": "full", "attn-mlp": "attn-mlp", "attn-only": "attn", "unet-transformer-only": "attn-mlp"}


def _tokens(value: Any) -> int:
    """Tokens of a caption as pieces of 75."""
    if whole(value) not in (75, 150, 225):
        raise NotHereError
    return whole(value) // 75


RULES: Mapping[str, Rule] = {
    "network_dim": Rule("method.rank", whole),
    "network_alpha": Rule("method.alpha", above),
    "dropout": Rule("method.dropout", number),
    "network_dropout": Rule("method.dropout", number),
    "rank_dropout": Rule("method.rank_dropout", number),
    "module_dropout": Rule("method.module_dropout", number),
    "max_train_steps": Rule("train.steps", whole),
    "train_batch_size": Rule("train.batch_size", whole),
    "gradient_accumulation_steps": Rule("train.accumulation", whole),
    "learning_rate": Rule("train.learning_rate", above),
    "unet_lr": Rule("train.learning_rate", above),
    "use_8bit_adam": Rule("train.optimizer", lambda value: "adamw8bit" if switch(value) else "adamw"),
    "use_lion_optimizer": Rule("train.optimizer", lambda value: "lion" if switch(value) else "adamw"),
    "optimizer_type": Rule("train.optimizer", optimizer),
    "optimizer": Rule("train.optimizer", optimizer),
    "d_coef": Rule("train.d_coef", above),
    "weight_decay": Rule("train.weight_decay", number),
    "lr_scheduler": Rule("train.schedule", one_of(SCHEDULES)),
    "max_grad_norm": Rule("train.max_grad_norm", number),
    "gradient_checkpointing": Rule("train.gradient_checkpointing", switch),
    "mixed_precision": Rule("train.precision", one_of(PRECISIONS)),
    "save_precision": Rule("save.precision", one_of(PRECISIONS)),
    "save_every_n_steps": Rule("save.every", whole),
    "training_comment": Rule("save.description", str),
    "metadata_title": Rule("save.title", str),
    "metadata_author": Rule("save.author", str),
    "metadata_description": Rule("save.description", str),
    "metadata_license": Rule("save.licence", str),
    "seed": Rule("seed", whole),
    "resolution": Rule("data.resolution", square),
    "max_resolution": Rule("data.resolution", square),
    "flip_aug": Rule("data.flip", switch),
    "random_crop": Rule("data.crop", lambda value: "random" if switch(value) else "centre"),
    "shuffle_caption": Rule("data.shuffle_tags", switch),
    "enable_wildcard": Rule("data.wildcards", switch),
    "caption_tag_dropout_rate": Rule("data.tag_dropout", number),
    "keep_tokens": Rule("data.keep_tags", lambda value: int(number(value))),
    "caption_dropout_rate": Rule("data.caption_dropout", number),
    "max_token_length": Rule("data.chunks", _tokens),
    "cache_latents": Rule("data.cache", switch),
    "validation_split": Rule("data.held_out", number),
    "noise_offset": Rule("loss.noise_offset", number),
    "noise_offset_random_strength": Rule("loss.noise_offset_random", switch),
    "ip_noise_gamma": Rule("loss.input_perturbation", number),
    "ip_noise_gamma_random_strength": Rule("loss.input_perturbation_random", switch),
    "scale_weight_norms": Rule("train.max_norm", above),
    "torch_compile": Rule("train.compile", switch),
    "loss_type": Rule("loss.kind", one_of({"l2": "mse", "huber": "huber", "smooth_l1": "smooth-l1"})),
    "class_tokens": Rule("data.caption", str),
    "caption_prefix": Rule("data.trigger", lambda value: str(value).strip(" ,")),
    "clip_skip": Rule("base.clip_skip", whole),
    "v_parameterization": Rule("base.prediction", lambda value: "v_prediction" if switch(value) else "auto"),
    "zero_terminal_snr": Rule("base.zero_terminal_snr", lambda value: "on" if switch(value) else "auto"),
    "sample_every_n_steps": Rule("sample.every", whole),
    "sample_sampler": Rule("sample.sampler", one_of(SAMPLERS)),
}
"""Later ones win."""
FOLDER_RULES: Mapping[str, Rule] = {
    "num_repeats": Rule("data.repeats", whole),
    **{
        name: RULES[name]
        for name in (
            "resolution", "flip_aug", "random_crop", "shuffle_caption", "enable_wildcard", "caption_tag_dropout_rate",
            "keep_tokens", "caption_dropout_rate", "class_tokens",
        )
    },
}  # fmt: skip
"""Rules for settings that each folder of pictures may have."""
LORA_ONLY: Mapping[str, Rule] = {
    "dora_wd": Rule("method.dora", switch),
    "rs_lora": Rule("method.rslora", switch),
    "loraplus_lr_ratio": Rule("method.plus_ratio", above),
    "loraplus_unet_lr_ratio": Rule("method.plus_ratio", above),
}
TUCKER: Mapping[str, Rule] = {name: Rule("method.tucker", switch) for name in ("use_cp", "use_tucker")}
LOKR_ONLY: Mapping[str, Rule] = {
    "factor": Rule("method.factor", int),
    "decompose_both": Rule("method.decompose_both", switch),
    "full_matrix": Rule("method.full_matrix", switch),
}
BY_METHOD = {"lora": LORA_ONLY, "lokr": LOKR_ONLY, "dylora": {"unit": Rule("method.unit", whole)}}
"""Rules for settings of some methods."""


@cache
def names_by_setting() -> Mapping[str, tuple[str, ...]]:
    """The scripts' names of each setting, in the order of the rules."""
    rules = dict(RULES)
    for more in (*BY_METHOD.values(), TUCKER):
        rules |= more
    names: dict[str, tuple[str, ...]] = {}
    for name, rule in rules.items():
        names[rule.key] = (*names.get(rule.key, ()), name)
    return names


@dataclass(frozen=True)
class Default:
    """The scripts' default of a setting."""

    key: str
    value: Any
    unless: tuple[str, ...] = ()
    """Settings that override it."""
    there: Any = None
    """The scripts' form of the value, if different."""


SCRIPT_DEFAULTS: Mapping[str, Default] = {
    "network_dim": Default("method.rank", 4, ("dim_from_weights",)),
    "network_alpha": Default("method.alpha", 1.0, ("dim_from_weights",)),
    "max_train_steps": Default("train.steps", 1600, ("max_train_epochs",)),
    "learning_rate": Default("train.learning_rate", 2e-6, ("unet_lr",)),
    "optimizer_type": Default("train.optimizer", "adamw", ("use_8bit_adam", "use_lion_optimizer"), "AdamW"),
    "lr_scheduler": Default("train.schedule", "constant"),
    "lr_warmup_steps": Default("train.warmup", 0),
    "gradient_accumulation_steps": Default("train.accumulation", 1),
    "max_grad_norm": Default("train.max_grad_norm", 1.0),
    "noise_offset": Default("loss.noise_offset", 0.0),
    "max_token_length": Default("data.chunks", 1, there=75),
}
PICTURE_DEFAULTS: Mapping[str, Default] = {
    "train_batch_size": Default("train.batch_size", 1),
    "caption_dropout_rate": Default("data.caption_dropout", 0.0),
    "shuffle_caption": Default("data.shuffle_tags", False),
    "flip_aug": Default("data.flip", False),
    "random_crop": Default("data.crop", "centre", there=False),
    "enable_bucket": Default("data.max_aspect", 1.0, there=False),
}
"""Defaults that a dataset config may set."""
INTERFACE = frozenset(("LoRA_type", "LyCORIS_preset", "epoch", "max_resolution"))
"""Names only in files of the interface, which write every setting."""
TRAINING = frozenset(("network_module", "network_dim", "network_alpha", "max_train_steps", "max_train_epochs",
    "learning_rate", "optimizer_type", "LoRA_type"))  # fmt: skip
"""Names of settings beyond pictures."""
KNOWN: Mapping[str, Reason] = because(
    path="vae clip_l clip_g t5xxl ae train_data_dir output_dir in_json model_list metadata_file",
    dataset="dataset_config",
    start="network_weights lora_network_weights dim_from_weights base_weights resume",
    elsewhere="sample_prompts",
    captions="caption_extension caption_extention",
    masks="masked_loss alpha_mask conditioning_data_dir",
    prior="reg_data_dir",
    family="v2 sdxl flux1_checkbox sd3_checkbox lumina_checkbox",
    logging="logging_dir log_with log_prefix log_config log_tracker_name log_tracker_config wandb_api_key "
    "wandb_run_name console_log_level console_log_file console_log_simple",
    files="save_model_as save_state save_state_on_train_end save_state_to_huggingface save_last_n_steps "
    "save_last_n_steps_state save_last_n_epochs save_last_n_epochs_state save_as_bool no_metadata metadata_tags "
    "huggingface_repo_id huggingface_repo_type huggingface_repo_visibility huggingface_path_in_repo huggingface_token "
    "async_upload resume_from_huggingface",
    machine="num_cpu_threads_per_process max_data_loader_n_workers persistent_data_loader_workers gpu_ids multi_gpu "
    "num_machines num_processes main_process_port dynamo_backend dynamo_mode dynamo_use_fullgraph dynamo_use_dynamic "
    "xformers sdpa mem_eff_attn lowram highvram vae_batch_size cache_latents_to_disk cache_text_encoder_outputs "
    "cache_text_encoder_outputs_to_disk sdxl_cache_text_encoder_outputs skip_cache_check no_half_vae "
    "sdxl_no_half_vae fp8_base extra_accelerate_launch_args blocks_to_swap cpu_offload_checkpointing",
    value="bucket_reso_steps",
    idle="stop_text_encoder_training stop_text_encoder_training_pct noise_offset_type block_lr_zero_threshold "
    "rank_dropout_scale train_on_input constrain",
)
SAME: Mapping[str, tuple[str, ...]] = {
    "min_timestep": ("0",), "max_timestep": ("1000",), "bucket_reso_steps": ("64",), "caption_extension": (".txt",),
    "caption_extention": (".txt",), "prior_loss_weight": ("1", "1.0"), "lr_scheduler_num_cycles": ("1",),
    "lr_scheduler_power": ("1", "1.0"), "noise_offset_type": ("original",), "betas": ("0.9,0.999", "(0.9,0.999)"),
    "eps": ("1e-8", "1e-08"), "d_coef": ("1", "1.0"), "decouple": ("true",), "use_bias_correction": ("true",),
    **dict.fromkeys(("scale_parameter", "relative_step", "warmup_init"), ("false",)),
    "safeguard_warmup": ("true",), "d0": ("1e-6", "1e-06"), "unit": ("1",), "factor": ("-1",),
    "dynamo_backend": ("no",), "dynamo_mode": ("default",), "train_on_input": ("true",), "constrain": ("0.0",),
    "script": ("sdxl_train_network", "sd3_train_network", "flux_train_network"),
    "model_list": ("custom",), "save_model_as": ("safetensors",), "huggingface_repo_visibility": ("private",),
}  # fmt: skip
"""Values that match the behaviour here."""
