"""diffusers' own pipelines around a base's networks, to compare with."""

from __future__ import annotations

import warnings
from typing import Any

import diffusers

from trainers.config.limits import Sampler
from trainers.models.model import Model
from trainers.models.samplers import make_scheduler


def make_pipeline(model: Model, sampler: Sampler = "ddim") -> Any:
    """The pipeline of a base's family, which shares the model's modules and noise schedule."""
    parts = {
        "unet": model.denoiser,
        "vae": model.vae,
        **dict(zip(model.encoder_names, model.text_encoders, strict=True)),
        **dict(zip(model.family.tokenizers, model.tokenizers, strict=True)),
        "scheduler": make_scheduler(model.schedule, sampler),
    }
    pipeline: Any
    with warnings.catch_warnings():
        # diffusers warns about this schedule, which is intended, and prints all of it.
        warnings.simplefilter("ignore", FutureWarning)
        if len(model.text_encoders) == 2:
            pipeline = diffusers.StableDiffusionXLPipeline(**parts, add_watermarker=False)
        else:
            unused = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
            pipeline = diffusers.StableDiffusionPipeline(**parts, **unused)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
