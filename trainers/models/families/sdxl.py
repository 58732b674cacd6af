"""Stable Diffusion XL: two text encoders, a context of 2048 numbers, pooled text and size conditioning, 1024 pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.messages import Message as _
from trainers.models.families.family import OPENRAIL, HubBase, Layout, Licence, Pair, Variant
from trainers.models.families.unet import UNetFamily
from trainers.models.families.unet_names import UNetShape, original_path

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.models.networks import Networks

FACTS = (1024, "sdxl_base_v1-0", "stable-diffusion-xl-v1-base", "sdxl")


class StableDiffusionXL(UNetFamily):
    name = "sdxl"
    hub_names = ("stable-diffusion-xl", "sdxl")
    title = "Stable Diffusion XL"
    short_title = "SDXL"
    offered = HubBase(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "Stable Diffusion XL",
        13_900_000_000,
        _("Finer, larger pictures; needs a graphics card with 12 GB or more."),
        Licence(
            "CreativeML OpenRAIL++-M",
            OPENRAIL,
            "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
        ),
    )
    hub_tag = "stable-diffusion-xl"
    implementation = "https://github.com/Stability-AI/generative-models"
    context_width = 2048
    networks: ClassVar[Mapping[str, str]] = {
        "unet": "diffusers.UNet2DConditionModel",
        "vae": "diffusers.AutoencoderKL",
        "text_encoder": "transformers.CLIPTextModel",
        "text_encoder_2": "transformers.CLIPTextModelWithProjection",
    }
    tokenizers: ClassVar[Mapping[str, str]] = dict.fromkeys(("tokenizer", "tokenizer_2"), "transformers.CLIPTokenizer")
    trained_encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    encoder_layouts: ClassVar[Mapping[str, Layout]] = {"text_encoder": "clip", "text_encoder_2": "open_clip"}
    encoder_mark = "conditioner.embedders.1."
    variants = (Variant("epsilon", *FACTS), Variant("v_prediction", *FACTS))
    original_names = True
    own_presets = ("b-lora",)

    def owns_folder(self, pipeline: str, config: Mapping[str, Any]) -> bool:
        return config.get("addition_embed_type") == "text_time"

    def may_own(self, config: Mapping[str, Any]) -> bool:
        return self.owns_folder("", config)

    def owns_version(self, version: str) -> bool:
        return version.startswith("sdxl_")

    def owns_layers(self, layers: Mapping[str, str | None], width: int | None) -> bool:
        """Whether a style has a second text encoder or SDXL's width; else a numbered first encoder and UNet layers.

        Some tools also number the only encoder of Stable Diffusion 1, which has the same layers as SDXL's first.
        Without UNet layers the base is unknown, and the style fits both.
        """
        parts = set(layers.values())
        if "transformer" in parts:
            return False
        if "text_encoder_2" in parts or width is not None:
            return "text_encoder_2" in parts or width == self.context_width
        return "unet" in parts and any(stem.startswith("lora_te1_") for stem in layers)

    def time_ids(
        self, base: Networks, original: Sequence[Pair], crop: Sequence[Pair], target: Sequence[Pair]
    ) -> Tensor | None:
        import torch

        rows = [[*o, *c, *t] for o, c, t in zip(original, crop, target, strict=True)]
        return torch.tensor(rows, dtype=torch.float32, device=base.device)

    def file_path(self, path: str, config: Mapping[str, Any]) -> str:
        return original_path(path, UNetShape.of(config))
