"""Conversion between pixels and latents."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from trainers.models.model import Model


def encode_images(model: Model, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n, c, h/f, w/f), fp32, of the latents of pixels (n, 3, h, w) in [−1, 1].

    Both are in the network's units: shifted and multiplied by the VAE's scaling factor. A sample is mean + std · noise.
    """
    vae = model.vae
    posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
    scale, shift = _scale_and_shift(vae)
    return (posterior.mean - shift) * scale, posterior.std * scale


def decode_latents(model: Model, latents: Tensor) -> Tensor:
    """Decode latents (n, c, h/f, w/f) in the network's units to pixels (n, 3, h, w) in [−1, 1], fp32."""
    vae = model.vae
    scale, shift = _scale_and_shift(vae)
    return vae.decode(latents.to(vae.device, vae.dtype) / scale + shift).sample.clamp(-1, 1)


def _scale_and_shift(vae: Any) -> tuple[float, float]:
    return vae.config.scaling_factor, getattr(vae.config, "shift_factor", None) or 0.0
