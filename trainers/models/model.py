"""A base model in memory: its frozen networks and properties."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from trainers.models.family import Family, Prediction
from trainers.models.schedule import NoiseSchedule
from trainers.models.words import Words


@dataclass(frozen=True, eq=False)
class Model:
    """A base: networks in evaluation mode with frozen weights, tokenizers, noise schedule, and where it came from.

    The VAE is always fp32: fp16 overflows in that of SDXL, and bf16 rounds away visible detail.
    """

    family: Family
    prediction: Prediction
    source: str
    """What the settings named: `starter`, a path or a hub id."""
    title: str
    """What people call this base (a file's stem, a hub id), never a full path."""
    sha256: str
    """Of the single file, or of the UNet's weight files one after the other."""
    starter: bool
    resolution: int
    """Side of the square that the network was trained on, in pixels."""
    stride: int
    """Sides of images must be divisible by this (VAE factor × UNet down factor), in pixels."""
    unet: Any
    """`UNet2DConditionModel`."""
    vae: Any
    """`AutoencoderKL`."""
    text_encoders: tuple[Any, ...]
    """`CLIPTextModel`, and for SDXL a second, `CLIPTextModelWithProjection`."""
    tokenizers: tuple[Any, ...]
    """One `CLIPTokenizer` for each text encoder."""
    schedule: NoiseSchedule
    words: Words = field(default_factory=Words)
    """What prompts may have beside the vocabulary."""

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the frozen UNet and text encoders."""
        return self.unet.dtype

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What a method can sit on, by the name it has in style files."""
        return {"unet": self.unet, **dict(zip(self.encoder_names, self.text_encoders, strict=True))}

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """What the text encoders are called among the parts."""
        return ("text_encoder", "text_encoder_2")[: len(self.text_encoders)]

    @property
    def vae_factor(self) -> int:
        """Pixels per latent along a side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)
