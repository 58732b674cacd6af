"""Stable Diffusion 1: one CLIP text encoder, a context of 768 numbers, 512 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from trainers.messages import Message as _
from trainers.models.families.family import OPENRAIL, HubBase, Layout, Licence, Variant
from trainers.models.families.unet import ONE_ENCODER, UNetFamily

FACTS = (512, "sd_v1", "stable-diffusion-v1", "sd1")


class StableDiffusion1(UNetFamily):
    name = "sd1"
    hub_names = ("stable-diffusion-v1", "stable-diffusion-1", "sd-v1")
    title = "Stable Diffusion 1"
    short_title = "SD 1.5"
    offered = HubBase(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "Stable Diffusion 1.5",
        4_300_000_000,
        _("The most widely used one; trains on small graphics cards."),
        Licence("CreativeML OpenRAIL-M", OPENRAIL, "https://huggingface.co/spaces/CompVis/stable-diffusion-license"),
    )
    hub_tag = "stable-diffusion"
    context_width = 768
    networks = ONE_ENCODER
    encoder_layouts: ClassVar[Mapping[str, Layout]] = {"text_encoder": "clip"}
    encoder_mark = "cond_stage_model.transformer."
    variants = (Variant("epsilon", *FACTS), Variant("v_prediction", *FACTS))
