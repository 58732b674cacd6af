"""Stable Diffusion 2: one OpenCLIP text encoder, a context of 1024 numbers; 512 pixels with epsilon, 768 with v."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from trainers.models.families.family import Layout, Variant
from trainers.models.families.unet import ONE_ENCODER, UNetFamily


class StableDiffusion2(UNetFamily):
    name = "sd2"
    hub_names = ("stable-diffusion-2", "sd-v2")
    title = "Stable Diffusion 2"
    short_title = "SD 2"
    hub_tag = "stable-diffusion"
    context_width = 1024
    networks = ONE_ENCODER
    encoder_layouts: ClassVar[Mapping[str, Layout]] = {"text_encoder": "open_clip"}
    encoder_mark = "cond_stage_model.model."
    variants = (
        Variant("epsilon", 512, "sd_v2", "stable-diffusion-v2-512", "sd2"),
        Variant("v_prediction", 768, "sd_v2_v", "stable-diffusion-v2-768-v", "sd2-v"),
    )

    def owns_folder(self, pipeline: str, config: Mapping[str, Any]) -> bool:
        fits = config.get("cross_attention_dim") == self.context_width or bool(config.get("use_linear_projection"))
        return fits and super().owns_folder(pipeline, config)
