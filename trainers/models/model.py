"""A base model in memory: its frozen networks and properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trainers.models.families.family import Family, Pair, down_factor
from trainers.models.networks import Networks
from trainers.models.prediction import Prediction
from trainers.models.text import Conditioning


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(Networks):
    """A base: its networks, family and source."""

    family: Family
    prediction: Prediction
    source: str
    """`base.model` of the settings: `starter`, a path or a hub id."""
    sha256: str
    """Hash of the single file, or of the denoiser's concatenated weight files."""
    starter: bool
    resolution: int
    """Side in pixels of the square images that the network was trained on."""
    stride: int
    """Divisor of all image sides in pixels (VAE factor × downsampling factor or patch of the denoiser)."""
    notes: tuple[str, ...] = ()
    """Notes to show before a training, such as on a tested prediction type or a distilled base."""

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The networks that methods can change, by their names in settings and style files."""
        encoders = zip(self.family.trained_encoders, self.text_encoders, strict=False)
        return {self.family.denoiser: self.denoiser, **dict(encoders)}

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """Names of the text encoders."""
        return self.family.encoders[: len(self.text_encoders)]

    @property
    def config(self) -> dict[str, Any]:
        """The denoiser's config."""
        return dict(self.denoiser.config)

    @property
    def vae_factor(self) -> int:
        """Pixels per latent along a side."""
        return down_factor(self.vae.config)

    @property
    def latent_channels(self) -> int:
        """Channels of the VAE's latents."""
        return int(self.vae.config.latent_channels)

    # Delegated to the family, whose methods document them.
    def encode(self, captions: Sequence[str], clip_skip: int = 1, chunks: int = 1) -> Conditioning:
        """Encode captions, differentiably in the trained encoders' weights and the rows of added words."""
        return self.family.encode(self, [*map(self.words.as_read, captions)], clip_skip, chunks)

    def count_tokens(self, caption: str) -> int:
        """Number of positions that a caption takes, without start and end."""
        tokenizers = dict(zip(self.family.tokenizers, self.tokenizers, strict=False))
        text = self.words.as_read(caption)
        return self.family.count_tokens(tokenizers[self.family.counting_tokenizer], text, self.words.sizes)

    def time_ids(self, original: Sequence[Pair], crop: Sequence[Pair], target: Sequence[Pair]) -> Tensor | None:
        """SDXL's size conditioning `(n, 6)`; None for other families.

        Per image, in pixels: original (height, width), crop (top, left), target (height, width).
        """
        return self.family.time_ids(self, original, crop, target)

    def predict(
        self,
        latents: Tensor,
        t: Tensor,
        text: Conditioning,
        time_ids: Tensor | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        """The prediction `(n, c, h, w)` for noisy latents `(n, c, h, w)` at timesteps `(n,)`, given the text."""
        return self.family.predict(self, latents, t, text, time_ids, guidance)
