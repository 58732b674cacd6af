"""Settings of published recipes, by program: the figures of files that people start from, without their texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def aitoolkit(
    network: Mapping[str, Any], train: Mapping[str, Any], model: Mapping[str, Any], sample: Mapping[str, Any],
    resolution: list[int], dtype: str = "float16", **save: Any,
) -> dict[str, Any]:  # fmt: skip
    """A job of ai-toolkit, with what all of its examples have."""
    process = {
        "type": "sd_trainer", "training_folder": "output", "device": "cuda:0",
        "network": {"type": "lora", **network},
        "save": {"dtype": dtype, "save_every": 250, "max_step_saves_to_keep": 4, "push_to_hub": False, **save},
        "datasets": [
            {
                "folder_path": "/images", "caption_ext": "txt", "caption_dropout_rate": 0.05,
                "cache_latents_to_disk": True, "resolution": resolution,
            }
        ],
        "train": {
            "batch_size": 1, "steps": 2000, "train_unet": True, "train_text_encoder": False,
            "gradient_checkpointing": True, "noise_scheduler": "flowmatch", "optimizer": "adamw8bit", "lr": 1e-4,
            "ema_config": {"use_ema": True, "ema_decay": 0.99}, "dtype": "bf16", **train,
        },
        "model": model,
        "sample": {
            "sampler": "flowmatch", "sample_every": 250, "width": 1024, "height": 1024, "prompts": ["[trigger] a fox"],
            "neg": "", "seed": 42, "walk_seed": True, "guidance_scale": 4, **sample,
        },
        "trigger_word": "dusk",
    }  # fmt: skip
    return {"job": "extension", "config": {"name": "my_first", "process": [process]}, "meta": {"version": "1.0"}}


RANK_16 = {"linear": 16, "linear_alpha": 16}
KOHYA = {
    "bucket_no_upscale": True, "bucket_reso_steps": 64, "cache_latents": True, "cache_latents_to_disk": True,
    "caption_dropout_rate": 0, "caption_extension": ".txt", "clip_skip": "1", "enable_bucket": True, "factor": -1,
    "flip_aug": False, "gradient_accumulation_steps": 1.0, "gradient_checkpointing": True, "lr_warmup": 0,
    "max_data_loader_n_workers": "0", "min_snr_gamma": 5, "mixed_precision": "bf16", "module_dropout": 0,
    "multires_noise_discount": 0, "multires_noise_iterations": 0, "network_dropout": 0, "noise_offset_type": "Original",
    "num_cpu_threads_per_process": 2, "prior_loss_weight": 1.0, "random_crop": False, "rank_dropout": 0,
    "save_every_n_epochs": 1, "save_precision": "bf16", "scale_weight_norms": 0, "sdxl": True, "unit": 1,
    "train_on_input": True, "xformers": True, "use_cp": False, "weighted_captions": False,
}  # fmt: skip
"""What the presets of kohya_ss have in common."""
BUCKETS = {
    "is_dreambooth": True, "batch_size_per_device": 4, "num_train_images": 120, "num_reg_images": 0,
    "resolution": [1024, 1024], "enable_bucket": True, "min_bucket_reso": 256, "max_bucket_reso": 2048,
    "tag_frequency": {"img": {"a fox": 12}}, "bucket_info": None,
}  # fmt: skip
SUBSET = {
    "img_count": 12, "num_repeats": 10, "color_aug": False, "flip_aug": False, "random_crop": False,
    "shuffle_caption": False, "keep_tokens": 0, "image_dir": "img", "class_tokens": None, "is_reg": False,
}  # fmt: skip
"""What metadata record of a dataset."""
RECIPES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ai-toolkit, Flux.1 on 24 GB": (
        "flux.yaml",
        aitoolkit(
            RANK_16, {"gradient_accumulation_steps": 1},
            {"name_or_path": "black-forest-labs/FLUX.1-dev", "is_flux": True, "quantize": True},
            {"sample_steps": 20}, [512, 768, 1024],
        ),
    ),
    "ai-toolkit, Chroma on 24 GB": (
        "chroma.yaml",
        aitoolkit(
            RANK_16, {"gradient_accumulation": 1}, {"name_or_path": "lodestones/Chroma", "arch": "chroma",
            "quantize": True}, {"sample_steps": 25}, [512, 768, 1024],
        ),
    ),
    "ai-toolkit, SD 3.5 large on 24 GB": (
        "sd35.yaml",
        aitoolkit(
            RANK_16, {"timestep_type": "linear"},
            {"name_or_path": "stabilityai/stable-diffusion-3.5-large", "is_v3": True, "quantize": True},
            {"sample_steps": 25}, [1024],
        ),
    ),
    "ai-toolkit, Z-Image with preserved output": (
        "zimage.yaml",
        aitoolkit(
            {"linear": 128, "linear_alpha": 128},
            {
                "batch_size": 2, "steps": 3000, "timestep_type": "weighted", "content_or_style": "balanced",
                "loss_type": "mse", "optimizer": "prodigy", "lr": 1.0, "optimizer_params": {"weight_decay": 0.01},
                "lr_scheduler": "constant", "diff_output_preservation": True,
                "diff_output_preservation_multiplier": 1.0, "diff_output_preservation_class": "person",
                "switch_boundary_every": 1, "unload_text_encoder": False,
                "ema_config": {"use_ema": False, "ema_decay": 0.99},
            },
            {"name_or_path": "Tongyi-MAI/Z-Image", "arch": "zimage", "quantize": True, "qtype": "qfloat8"},
            {"sample_steps": 30, "samples": [{"prompt": "[trigger] at sea", "seed": 7}]}, [1024, 1024], "bf16",
            save_format="safetensors",
        ),
    ),
    "OneTrainer, SD 1.5": (
        "sd15.json",
        {
            "backup_after": 10, "base_model_name": "stable-diffusion-v1-5/stable-diffusion-v1-5", "batch_size": 4,
            "layer_filter_preset": "attn-mlp", "learning_rate": 0.0003, "model_type": "STABLE_DIFFUSION_15",
            "output_model_destination": "models/lora.safetensors", "output_model_format": "KOHYA_LORA",
            "resolution": "512", "training_method": "LORA", "vae": {"weight_dtype": "FLOAT_32"},
            "unet": {"weight_dtype": "FLOAT_16"}, "text_encoder": {"weight_dtype": "FLOAT_16"},
        },
    ),
    "OneTrainer, SDXL": (
        "sdxl.json",
        {
            "training_method": "LORA", "debug_mode": False, "workspace_dir": "workspace/run", "tensorboard": True,
            "model_type": "STABLE_DIFFUSION_XL_10_BASE", "base_model_name": "stabilityai/stable-diffusion-xl-base-1.0",
            "weight_dtype": "FLOAT_16", "output_dtype": "FLOAT_32", "output_model_format": "SAFETENSORS",
            "concept_file_name": "training_concepts/concepts.json", "aspect_ratio_bucketing": True,
            "latent_caching": True, "optimizer": "ADAMW", "learning_rate_scheduler": "CONSTANT",
            "learning_rate": 0.0003, "learning_rate_warmup_steps": 200, "learning_rate_cycles": 1, "epochs": 100,
            "batch_size": 4, "gradient_accumulation_steps": 1, "ema": "OFF", "ema_decay": 0.999,
            "offset_noise_weight": 0.05, "rescale_noise_scheduler_to_zero_terminal_snr": False,
            "force_v_prediction": False, "train_dtype": "FLOAT_16", "resolution": 1024, "masked_training": False,
            "max_noising_strength": 1.0, "lora_rank": 16, "lora_alpha": 1.0, "sample_after": 10,
            "sample_after_unit": "MINUTE", "backup_after": 30, "backup_after_unit": "MINUTE",
        },
    ),
    "kohya_ss, SDXL with Prodigy": (
        "prodigy.json",
        {
            **KOHYA, "LoRA_type": "Standard", "epoch": 30, "keep_tokens": 2, "learning_rate": 1.0, "unet_lr": 1.0,
            "text_encoder_lr": 1.0, "lr_scheduler": "cosine_with_restarts", "max_resolution": "1024,1024",
            "max_bucket_reso": 2048, "min_bucket_reso": 256, "max_token_length": "225", "network_alpha": 256,
            "network_dim": 256, "conv_dim": 1, "conv_alpha": 1, "noise_offset": 0.0357, "optimizer": "Prodigy",
            "optimizer_args":
            "decouple=True weight_decay=0.45 d_coef=2 use_bias_correction=True safeguard_warmup=True",
            "seed": "1337", "shuffle_caption": True, "train_batch_size": 6, "max_timestep": 1000,
            "additional_parameters": "--network_train_unet_only",
        },
    ),
    "kohya_ss, LoHA on SD 1.5": (
        "loha.json",
        {
            **KOHYA, "LoRA_type": "LyCORIS/LoHa", "bucket_reso_steps": 1, "conv_alpha": 4, "conv_dim": 8, "epoch": 2,
            "gradient_accumulation_steps": 4, "gradient_checkpointing": False, "learning_rate": 0.0001,
            "unet_lr": 0.0001, "text_encoder_lr": 0.0001, "lr_scheduler": "cosine", "max_resolution": "512,512",
            "max_token_length": "75", "min_snr_gamma": 10, "multires_noise_discount": 0.2,
            "multires_noise_iterations": 8, "noise_offset": 0, "noise_offset_type": "Multires", "network_alpha": 16,
            "network_dim": 32, "optimizer": "AdamW", "save_precision": "fp16", "scale_weight_norms": 1,
            "train_batch_size": 1, "use_cp": True, "sdxl": False,
        },
    ),
    "kohya_ss, LoHA on SDXL": (
        "sdxl-loha.json",
        {
            **KOHYA, "LoRA_type": "LyCORIS/LoHa",
            "additional_parameters": "--min_bucket_reso=512 --max_bucket_reso=2048",
            "conv_alpha": 4, "conv_dim": 4, "epoch": 10, "learning_rate": 0.002, "unet_lr": 0.002,
            "text_encoder_lr": 0.0, "lr_scheduler": "cosine", "lr_scheduler_num_cycles": "1",
            "max_resolution": "1024,1024", "network_alpha": 8, "network_dim": 8, "noise_offset": 0.0357,
            "optimizer": "AdamW8bit", "optimizer_args": "weight_decay=0.05 betas=0.9,0.98", "seed": "17415",
            "train_batch_size": 4, "train_on_input": False,
        },
    ),
    "kohya_ss, Flux.1 with fp8": (
        "flux.json",
        {
            **KOHYA, "LoRA_type": "Flux1", "ae": "H:/ae.sft", "clip_l": "H:/clip_l.safetensors", "conv_dim": 64,
            "conv_alpha": 64, "discrete_flow_shift": 1, "epoch": 25, "flux1_checkbox": True, "fp8_base": True,
            "guidance_scale": 3.5, "learning_rate": 0.0001, "unet_lr": 0.0001, "text_encoder_lr": 0, "loss_type": "l2",
            "lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": 5, "max_grad_norm": 1,
            "max_resolution": "512,512", "max_train_steps": 4000, "model_prediction_type": "raw", "network_alpha": 8,
            "network_dim": 8, "optimizer": "AdamW8bit", "sample_every_n_steps": 200,
            "sample_prompts": "a harbour --w 768 --h 768 --s 20 --l 3", "sample_sampler": "euler", "seed": 42,
            "timestep_sampling": "sigma", "train_batch_size": 1, "sdxl": False, "bucket_no_upscale": False,
            "t5xxl": "H:/clip/t5xxl_fp16.safetensors",
        },
    ),
    "civitai, Illustrious, from a file's metadata": (
        "style.safetensors",
        {
            "ss_network_module": "networks.lora", "ss_network_dim": "32", "ss_network_alpha": "16",
            "ss_learning_rate": "0.0005", "ss_unet_lr": "0.0005", "ss_text_encoder_lr": "5e-05",
            "ss_lr_scheduler": "cosine_with_restarts", "ss_max_train_steps": "1050", "ss_min_snr_gamma": "5.0",
            "ss_noise_offset": "0.1", "ss_clip_skip": "2", "ss_mixed_precision": "bf16", "ss_seed": "42",
            "ss_optimizer": "transformers.optimization.Adafactor(scale_parameter=False,relative_step=False,"
            "warmup_init=False)",
            "ss_batch_size_per_device": "4", "ss_gradient_checkpointing": "True", "ss_sd_model_name": "il.safetensors",
            "ss_network_args": "null", "ss_session_id": "12", "ss_tag_frequency": "{}", "modelspec.title": "dusk",
        },
    ),
    "Easy Training Scripts, SDXL with CAME and REX": (
        "style.json",
        {
            "pretrained_model_name_or_path": "sdxl.safetensors", "sdxl": True, "network_module": "networks.lora",
            "network_dim": 32, "network_alpha": 16, "network_train_unet_only": True, "learning_rate": 1e-4,
            "optimizer_type": "LoraEasyCustomOptimizer.came.CAME",
            "optimizer_args": ["weight_decay=0.04", "betas=0.9,0.999,0.9999"],
            "lr_scheduler_type": "LoraEasyCustomOptimizer.RexAnnealingWarmRestarts.RexAnnealingWarmRestarts",
            "lr_scheduler_args": ["min_lr=1e-06", "gamma=0.9", "d=0.9"], "lr_warmup_steps": 0, "max_grad_norm": 1.0,
            "ip_noise_gamma": 0.05, "scale_weight_norms": 1.0, "max_train_epochs": 10, "min_snr_gamma": 5,
            "mixed_precision": "bf16", "save_precision": "bf16", "gradient_checkpointing": True, "seed": 23,
            "cache_latents": True, "sdpa": True, "loss_type": "l2",
            "datasets": [
                {
                    "resolution": 1024, "batch_size": 2, "enable_bucket": True,
                    "subsets": [
                        {"image_dir": "/train/2_ink", "num_repeats": 2, "caption_extension": ".txt", "keep_tokens": 1,
                         "shuffle_caption": True},
                        {"image_dir": "/train/1_chalk", "num_repeats": 1, "caption_extension": ".txt",
                         "flip_aug": True, "caption_dropout_rate": 0.1},
                    ],
                }
            ],
        },
    ),
    "kohya, SD 1.5 with Prodigy schedule-free": (
        "prodigy.json",
        {
            **KOHYA, "LoRA_type": "Standard", "sdxl": False, "optimizer": "ProdigyPlusScheduleFree",
            "optimizer_type": "prodigyplus.ProdigyPlusScheduleFree", "optimizer_args": "d_coef=0.5 weight_decay=0.01",
            "learning_rate": 1.0, "unet_lr": 1.0, "text_encoder_lr": 1.0, "lr_scheduler": "constant",
            "network_dim": 16, "network_alpha": 16, "max_train_steps": 800, "epoch": 0, "train_batch_size": 2,
            "max_resolution": "512,512", "noise_offset": 0, "max_grad_norm": 0, "seed": 7,
        },
    ),
    "civitai, SDXL, its defaults": (
        "style.safetensors",
        {
            "ss_network_module": "networks.lora", "ss_network_dim": "32", "ss_network_alpha": "16",
            "ss_learning_rate": "0.0005", "ss_unet_lr": "0.0005", "ss_text_encoder_lr": "5e-05",
            "ss_lr_scheduler": "cosine_with_restarts", "ss_max_train_steps": "1250", "ss_min_snr_gamma": "5.0",
            "ss_noise_offset": "0.1", "ss_clip_skip": "None", "ss_mixed_precision": "bf16", "ss_seed": "42",
            "ss_base_model_version": "sdxl_base_v1-0", "ss_sd_model_name": "sd_xl_base_1.0.safetensors",
            "ss_optimizer": "transformers.optimization.Adafactor(scale_parameter=False,relative_step=False,"
            "warmup_init=False)",
            "ss_batch_size_per_device": "4", "ss_gradient_checkpointing": "True", "ss_network_args": "null",
            "ss_datasets": json.dumps([{**BUCKETS, "subsets": [{**SUBSET, "shuffle_caption": True}]}]),
        },
    ),
    "civitai's trainer, SDXL, its form": (
        "civitai.json",
        {
            "params": {
                "engine": "kohya", "unetLR": 0.0005, "textEncoderLR": 0.00005, "optimizerType": "Adafactor",
                "optimizerArgs": "scale_parameter=False, relative_step=False, warmup_init=False", "networkDim": 32,
                "networkAlpha": 16, "lrScheduler": "cosine_with_restarts", "lrSchedulerNumCycles": 3,
                "maxTrainEpochs": 10, "numRepeats": 2, "targetSteps": 1050, "trainBatchSize": 4, "resolution": 1024,
                "loraType": "lora", "enableBucket": True, "shuffleCaption": False, "keepTokens": 0, "clipSkip": 1,
                "flipAugmentation": True, "minSnrGamma": 5, "noiseOffset": 0.1,
            }
        },
    ),
    "civitai, Flux.1, its defaults": (
        "flux.safetensors",
        {
            "ss_network_module": "networks.lora_flux", "ss_network_dim": "32", "ss_network_alpha": "32",
            "ss_learning_rate": "0.0001", "ss_unet_lr": "0.0001", "ss_text_encoder_lr": "0",
            "ss_lr_scheduler": "constant", "ss_max_train_steps": "2000", "ss_noise_offset": "None",
            "ss_mixed_precision": "bf16", "ss_seed": "42", "ss_base_model_version": "flux1",
            "ss_sd_model_name": "flux1-dev.safetensors", "ss_guidance_scale": "1.0",
            "ss_timestep_sampling": "sigmoid", "ss_model_prediction_type": "raw", "ss_discrete_flow_shift": "3.0",
            "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit", "ss_batch_size_per_device": "1",
            "ss_gradient_checkpointing": "True", "ss_network_args": '{"train_t5xxl": false}',
            "ss_datasets": json.dumps(
                [{**BUCKETS, "batch_size_per_device": 1, "subsets": [{**SUBSET, "num_repeats": 1}]}]
            ),
        },
    ),
}  # fmt: skip
