"""The second training of the decoder, on encoded pictures and on pictures that the denoiser has redrawn.

The encoder stays as it is, so the latents and the denoiser do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tools.starter.networks.autoencoder import (
    CROP,
    LATE,
    WHOLE,
    Canvas,
    measure_psnr,
    plain,
    sample_latents,
    score_pixels,
    to_channels,
    turn_alike,
)
from tools.starter.networks.discriminator import (
    SHARE,
    PatchDiscriminator,
    adversarial_loss,
    balance,
    discriminator_loss,
)
from tools.starter.networks.perceptual import PerceptualDistance
from tools.starter.networks.redrawn import Redrawn
from tools.starter.networks.stage import Schedule, Stage, autocast_on

SCHEDULE = Schedule(steps=1_200, batch=32, rate=0.002, plain_rate=1e-4, warmup=100, cooldown=0.5, measure_every=200)
PERCEPTUAL_WEIGHT = 0.3
PERCEPTUAL_SHARE = 4  # one picture in so many is compared by its features too, which cost as much as the autoencoder
DISCRIMINATOR_RATE = 2.0  # times that of the other plain parameters
DISCRIMINATING = 200  # steps until the discriminator, which knows nothing at first, has its full share


class Rivals(nn.Module):
    """The autoencoder and the discriminator, trained in one step by losses that each reach only one of them."""

    def __init__(self, autoencoder: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.autoencoder, self.discriminator = autoencoder, discriminator


def sharpen_decoder(
    folder: Path,
    autoencoder: Any,
    canvas: Canvas,
    redrawn: Redrawn,
    perceptual: PerceptualDistance,
    references: Mapping[str, Tensor],
    schedule: Schedule = SCHEDULE,
) -> None:
    """Train the decoder in place, logging the mean PSNR of the `references`; resumes an interrupted training."""
    torch.manual_seed(schedule.seed)
    device = autoencoder.device
    rivals = Rivals(autoencoder, PatchDiscriminator()).to(device).train()
    for part in (autoencoder.encoder, autoencoder.quant_conv):
        part.requires_grad_(False)
    show = shown_by(autoencoder, canvas, redrawn, schedule.batch)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        latents, images = turn_alike(*show(step, generator), generator)
        with autocast_on(device):
            drawn = autoencoder.decode(latents).sample
        share = SHARE * min(1.0, step / DISCRIMINATING)
        return score(drawn.float(), images, perceptual, rivals.discriminator, share)

    stage = Stage(folder, rivals, schedule, plain_of_rivals, {"discriminator.": DISCRIMINATOR_RATE})
    stage.train(loss, lambda: measure_psnr(autoencoder, references))
    autoencoder.eval()


def shown_by(
    autoencoder: Any, canvas: Canvas, redrawn: Redrawn, batch: int
) -> Callable[[int, torch.Generator], tuple[Tensor, Tensor]]:
    """Return a function that makes the latents and pictures of a step: encoded ones and redrawn ones by turns."""
    whole = max(1, batch * CROP**2 // 128**2)
    device = autoencoder.device

    def show(step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        turn, is_redrawn = divmod(step, 2)
        if is_redrawn:
            rows = torch.randint(len(redrawn.latents), (whole,), generator=generator).tolist()
            images = to_channels(redrawn.pictures[rows]) * 2 - 1
            return redrawn.latents[rows].float().to(device), images.to(device)
        size = (whole, 128) if turn % WHOLE == WHOLE - 1 else (batch, CROP)
        images = canvas.batch(*size, LATE, generator).to(device)
        with autocast_on(device):
            return sample_latents(autoencoder.encode(images).latent_dist, generator), images

    return show


def score(
    drawn: Tensor, images: Tensor, perceptual: PerceptualDistance, discriminator: nn.Module, share: float
) -> dict[str, Tensor]:
    """The pixel losses, the perceptual distance of one picture in `PERCEPTUAL_SHARE`, and the two adversarial losses.

    The gradient of the adversarial loss on the pictures is `share` of that of the others.
    """
    values = score_pixels(drawn, images)
    count = max(1, len(drawn) // PERCEPTUAL_SHARE)
    with autocast_on(drawn.device):
        distance = perceptual(drawn[:count], images[:count]).mean()
        adversarial = adversarial_loss(discriminator, drawn)
        discrimination = discriminator_loss(discriminator, drawn, images)
    loss = values["loss"] + PERCEPTUAL_WEIGHT * distance
    loss = loss + balance(loss, adversarial, drawn, share) * adversarial + discrimination
    return values | {"loss": loss, "perceptual": distance, "adversarial": adversarial, "discriminator": discrimination}


def plain_of_rivals(name: str) -> bool:
    """Whether AdamW trains a parameter: the normalised discriminator, and the plain layers of the autoencoder."""
    return name.startswith("discriminator.") or plain(name)
