"""The networks of a base in memory, which its family runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from trainers.models.schedule import Schedule
from trainers.models.words import Words


@dataclass(frozen=True, eq=False, kw_only=True)
class Networks:
    """Frozen networks in evaluation mode, with their tokenizers and noise schedule.

    The VAE is always fp32: SDXL's overflows in fp16, and bf16 loses visible detail.
    """

    title: str
    """Name of the base for users (a file's stem, a hub id), never a full path."""
    denoiser: Any
    """`UNet2DConditionModel`, or a transformer."""
    vae: Any
    """`AutoencoderKL`."""
    text_encoders: tuple[Any, ...]
    """In the order of `Family.encoders`; optional ones at the end may be missing."""
    tokenizers: tuple[Any, ...]
    """One for each text encoder."""
    schedule: Schedule
    guidance: float = 1.0
    """The guidance scale in training, for denoisers that read one."""
    words: Words = field(default_factory=Words)
    """Words added to the vocabulary."""

    @property
    def device(self) -> torch.device:
        """Device of the denoiser."""
        return next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the frozen denoiser and text encoders."""
        # `ModelMixin.dtype` looks at every module for hooks, which takes milliseconds in each step.
        return next(each.dtype for each in self.denoiser.parameters() if each.is_floating_point())
