"""Write the trained parts as a Stable Diffusion folder in fp16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tools.starter.networks.denoiser import SCHEDULER


def write_pipeline(
    folder: Path,
    autoencoder: Any,
    text_encoder: Any,
    tokenizer: Any,
    unet: Any,
    scale: float,
) -> None:
    """Save a `StableDiffusionPipeline` in `folder`; `scale` makes its latents' variance one."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    autoencoder.register_to_config(scaling_factor=scale)
    pipeline: Any = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder)
