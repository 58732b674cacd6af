"""The trained parts as a Stable Diffusion pipeline, written in fp16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tools.starter.networks.denoiser import SCHEDULER


def make_pipeline(autoencoder: Any, text_encoder: Any, tokenizer: Any, unet: Any, scale: float) -> Any:
    """Return a `StableDiffusionPipeline` of these parts; `scale` makes its latents' variance one."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    autoencoder.register_to_config(scaling_factor=scale)
    return StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def write_pipeline(folder: Path, pipeline: Any) -> None:
    """Save the pipeline, whose parts this halves to fp16, in `folder`."""
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
