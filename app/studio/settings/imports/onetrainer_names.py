"""OneTrainer's names of settings, with their keys here, or why they are not taken."""

from __future__ import annotations

from collections.abc import Mapping

from app.studio.settings.imports.reading import Rule
from app.studio.settings.imports.report import Reason, because
from app.studio.settings.imports.values import (
    PRECISIONS,
    SCHEDULES,
    above,
    count,
    number,
    one_of,
    optimizer,
    square,
    switch,
    whole,
)

LAYERS = {"full": "full", "attn-mlp": "attn-mlp", "attn-only": "attn", "": "full"}
CHECKPOINTING = {"true": True, "false": False, "on": True, "off": False, "cpu_offloaded": True}
KINDS = {
    "FLUX_2": "FLUX.2 dev", "FLUX_FILL_DEV_1": "FLUX.1 Fill", "HI_DREAM_FULL": "HiDream I1", "QWEN": "Qwen-Image",
    "ERNIE": "ERNIE-Image", "WUERSTCHEN_2": "Stable Cascade",
}  # fmt: skip
"""Kinds of bases that Velatura does not train, with names other than in its table."""

RULES: Mapping[str, Rule] = {
    "lora_rank": Rule("method.rank", whole),
    "lora_alpha": Rule("method.alpha", above),
    "dropout_probability": Rule("method.dropout", number),
    "lora_decompose": Rule("method.dora", switch),
    "lora_layer_preset": Rule("targets.unet", one_of(LAYERS)),
    "layer_filter_preset": Rule("targets.unet", one_of(LAYERS)),
    "learning_rate": Rule("train.learning_rate", above),
    "unet.learning_rate": Rule("train.learning_rate", above),
    "text_encoder.train": Rule("targets.text_encoder", lambda value: "attn-mlp" if switch(value) else "none"),
    "text_encoder.dropout_probability": Rule("data.caption_dropout", number),
    "batch_size": Rule("train.batch_size", whole),
    "gradient_accumulation_steps": Rule("train.accumulation", whole),
    "learning_rate_scheduler": Rule("train.schedule", one_of(SCHEDULES)),
    "clip_grad_norm": Rule("train.max_grad_norm", number),
    "optimizer.optimizer": Rule("train.optimizer", optimizer),
    "optimizer.weight_decay": Rule("train.weight_decay", number),
    "optimizer.d_coef": Rule("train.d_coef", above),
    "gradient_checkpointing": Rule("train.gradient_checkpointing", one_of(CHECKPOINTING)),
    "train_dtype": Rule("train.precision", one_of(PRECISIONS)),
    "output_dtype": Rule("save.precision", one_of(PRECISIONS)),
    "resolution": Rule("data.resolution", square),
    "aspect_ratio_bucketing": Rule("data.max_aspect", lambda value: 4.0 if switch(value) else 1.0),
    "latent_caching": Rule("data.cache", switch),
    "seed": Rule("seed", whole),
    "perturbation_noise_weight": Rule("loss.input_perturbation", number),
    "offset_noise_weight": Rule("loss.noise_offset", number),
    "text_encoder_layer_skip": Rule("base.clip_skip", lambda value: whole(value) + 1),
    "text_encoder.layer_skip": Rule("base.clip_skip", lambda value: whole(value) + 1),
    "force_v_prediction": Rule("base.prediction", lambda value: "v_prediction" if switch(value) else "auto"),
    "rescale_noise_scheduler_to_zero_terminal_snr": Rule(
        "base.zero_terminal_snr", lambda value: "on" if switch(value) else "auto"
    ),
}
"""Later ones win."""
CONCEPT: Mapping[str, Rule] = {
    "concepts.image.enable_random_flip": Rule("data.flip", switch),
    "concepts.image.enable_crop_jitter": Rule("data.crop", lambda value: "random" if switch(value) else "centre"),
    "concepts.text.enable_tag_shuffling": Rule("data.shuffle_tags", switch),
}
"""Rules for settings that all concepts share."""
FOLDER_RULES: Mapping[str, Rule] = {
    **CONCEPT,
    "concepts.balancing": Rule("data.repeats", count),
    "concepts.loss_weight": Rule("data.weight", above),
    "concepts.text.tag_dropout_probability": Rule("data.tag_dropout", number),
    "concepts.text.keep_tags_count": Rule("data.keep_tags", lambda value: int(number(value))),
}
"""Rules for settings that each concept may have."""
KNOWN: Mapping[str, Reason] = because(
    path="output_model_destination workspace_dir cache_dir debug_dir lora_model_name vae.model_name",
    elsewhere="samples sample_definition_file_name train_device temp_device",
    concepts="concept_file_name",
    value="timestep_distribution noising_weight noising_bias concepts.image.enable_resolution_override "
    "concepts.image.resolution_override",
    masks="masked_training unmasked_probability unmasked_weight normalize_masked_area_loss "
    "masked_prior_preservation_weight",
    family="model_type frames unet.guidance_scale unet.attention_mask text_encoder_2.train",
    logging="tensorboard tensorboard_expose tensorboard_always_on tensorboard_port samples_to_tensorboard "
    "sample_image_format sample_video_format sample_audio_format validation validate_after validate_after_unit",
    files="save_every_unit save_skip_first save_filename_prefix backup_before_save rolling_backup "
    "rolling_backup_count output_model_format output_dtype include_train_config continue_last_backup "
    "non_ema_sampling",
    machine="dataloader_threads train_device temp_device compile enable_async_offloading "
    "enable_activation_offloading layer_offload_fraction only_cache clear_cache_before_training debug_mode "
    "weight_dtype fallback_train_dtype enable_autocast_cache force_circular_padding_off multi_gpu device_indexes "
    "gradient_reduce_precision fused_gradient_reduce async_gradient_reduce async_gradient_reduce_buffer "
    "unet.weight_dtype text_encoder.weight_dtype text_encoder_2.weight_dtype optimizer.fused optimizer.foreach "
    "optimizer.fused_back_pass optimizer.use_triton optimizer.percentile_clipping optimizer.block_wise "
    "optimizer.min_8bit_size optimizer.is_paged optimizer.quant_block_size optimizer.log_every cloud",
    time="save_every sample_after sample_after_unit backup_after backup_after_unit sample_skip_first",
    idle="unet.train_embedding text_encoder.train_embedding text_encoder_2.train_embedding ema_update_step_interval "
    "ema_decay loss_weight_strength huber_delta learning_rate_cycles unet.stop_training_after "
    "text_encoder.stop_training_after_unit text_encoder_2.stop_training_after text_encoder_2.stop_training_after_unit "
    "unet.stop_training_after_unit embedding_learning_rate embedding_weight_dtype preserve_embedding_norm "
    "layer_filter lora_layers layer_filter_regex lora_weight_dtype bundle_additional_embeddings oft_block_size "
    "oft_coft coft_eps oft_block_share lora_decompose_norm_epsilon lora_decompose_output_axis "
    "custom_learning_rate_scheduler scheduler_params",
)
SAME: Mapping[str, tuple[str, ...]] = {
    "training_method": ("lora",), "optimizer.beta1": ("0.9",), "optimizer.beta2": ("0.999",),
    "optimizer.eps": ("1e-08", "1e-8"), "optimizer.d0": ("1e-06",),
    "optimizer.decouple": ("true",), "optimizer.use_bias_correction": ("true",), "optimizer.growth_rate": ("inf",),
    "optimizer.safeguard_warmup": ("true",), "optimizer.stochastic_rounding": ("false",), "mse_strength": ("1.0", "1"),
    "loss_scaler": ("none",), "learning_rate_scaler": ("none",), "timestep_distribution": ("uniform",),
    "max_noising_strength": ("1.0", "1"), "timestep_shift": ("1.0", "1"), "vb_loss_strength": ("1.0", "1"),
    "unet.train": ("true",), "unet.include": ("true",), "text_encoder.include": ("true",),
    "text_encoder_2.include": ("true",), "learning_rate_min_factor": ("0.0", "0"),
    "text_encoder_2.train": ("true",), "ema": ("off",), "save_every_unit": ("never",),
    "concepts.loss_weight": ("1.0", "1"), "concepts.text.prompt_source": ("sample",), "concepts.enabled": ("true",),
    "concepts.type": ("standard",), "concepts.include_subdirectories": ("true",), "concepts.image_variations": ("1",),
    "concepts.text_variations": ("1",), "concepts.text.tag_delimiter": (",",), "compile": ("true",),
    "quantization.layer_filter_preset": ("full",), "only_cache": ("false",), "dataloader_threads": ("1", "2"),
}  # fmt: skip
"""Values that match the behaviour here, in lower case."""
