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
    """A base: frozen networks in evaluation mode, tokenizers, noise schedule, and source.

    The VAE is always fp32: SDXL's overflows in fp16, and bf16 loses visible detail.
    """

    family: Family
    prediction: Prediction
    source: str
    """`base.model` of the settings: `starter`, a path or a hub id."""
    title: str
    """Name for users (a file's stem, a hub id), never a full path."""
    sha256: str
    """Of the single file, or of the UNet's concatenated weight files."""
    starter: bool
    resolution: int
    """Side in pixels of the square images that the network was trained on."""
    stride: int
    """Divisor of all image sides in pixels (VAE factor × UNet downsampling factor)."""
    unet: Any
    """`UNet2DConditionModel`."""
    vae: Any
    """`AutoencoderKL`."""
    text_encoders: tuple[Any, ...]
    """`CLIPTextModel`, and for SDXL a second, `CLIPTextModelWithProjection`."""
    tokenizers: tuple[Any, ...]
    """One `CLIPTokenizer` for each text encoder."""
    schedule: NoiseSchedule
    notes: tuple[str, ...] = ()
    """What is to be said of it before a training: a prediction type that was tested, a distillation."""
    words: Words = field(default_factory=Words)
    """Words added to the vocabulary."""

    @property
    def device(self) -> torch.device:
        """Device of the UNet."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the frozen UNet and text encoders."""
        return self.unet.dtype

    @property
    def parts(self) -> dict[str, nn.Module]:
        """Networks that methods can change, by their names in settings and style files."""
        return {"unet": self.unet, **dict(zip(self.encoder_names, self.text_encoders, strict=True))}

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """Names of the text encoders in `parts`."""
        return ("text_encoder", "text_encoder_2")[: len(self.text_encoders)]

    @property
    def vae_factor(self) -> int:
        """Pixels per latent along a side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)
