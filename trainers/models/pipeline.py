"""A diffusers pipeline around a base model's own networks."""

from __future__ import annotations

import warnings
from typing import Any

from trainers.config.limits import Sampler
from trainers.models.model import Model
from trainers.models.samplers import make_scheduler


def make_pipeline(model: Model, sampler: Sampler = "ddim") -> Any:
    """`StableDiffusionPipeline` or `StableDiffusionXLPipeline` that shares the model's modules and noise schedule."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    parts = {
        "unet": model.unet,
        "vae": model.vae,
        "text_encoder": model.text_encoders[0],
        "tokenizer": model.tokenizers[0],
        "scheduler": make_scheduler(model.schedule, sampler),
    }
    pipeline: Any
    with warnings.catch_warnings():
        # diffusers warns about this schedule, which is intended, and prints all of it.
        warnings.simplefilter("ignore", FutureWarning)
        if model.family.name == "sdxl":
            second = {"text_encoder_2": model.text_encoders[1], "tokenizer_2": model.tokenizers[1]}
            pipeline = StableDiffusionXLPipeline(**parts, **second, add_watermarker=False)
        else:
            unused = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
            pipeline = StableDiffusionPipeline(**parts, **unused)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
