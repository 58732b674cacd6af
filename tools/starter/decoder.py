"""A sharper decoder for the same latents: it is shown encoded pictures, and what the denoiser makes of them.

The encoder stays as it is, so the denoiser, every style and every run that was begun go on.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tools.starter.networks.autoencoder import (
    CROP,
    LATE,
    WHOLE,
    Canvas,
    plain,
    psnr,
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
from tools.starter.networks.stage import Between, Schedule, Stage
from tools.starter.unseen import measure_unseen, sharpness
from trainers.atomic_files import whole_file

FIGURES = "figures.json"
SCHEDULE = Schedule(steps=1_200, batch=32, rate=0.002, plain_rate=1e-4, warmup=100, cooldown=0.5, measure_every=200)
PERCEPTUAL_WEIGHT = 0.3
PERCEPTUAL_SHARE = 4  # one picture in so many is compared by its features too, which cost as much as the autoencoder
DISCRIMINATOR_RATE = 2.0  # times that of the other plain parameters
DISCRIMINATING = 200  # steps until the discriminator, which knows nothing at first, has its full share
HELD = 64  # redrawn pictures that are measured, not learned


class Rivals(nn.Module):
    """The autoencoder and the discriminator, trained in one step by losses that each reach only one of them."""

    def __init__(self, autoencoder: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.autoencoder, self.discriminator = autoencoder, discriminator


@dataclass(frozen=True)
class Workshop:
    """What a part is trained with: drawings, the shipped autoencoder, losses and measures, the gate between steps."""

    drawings: Path
    shipped: Any
    perceptual: PerceptualDistance
    unseen: Mapping[str, Tensor]
    between: Between
    device: torch.device

    def measure(self, model: Any) -> dict[str, float]:
        """The figures of an autoencoder on pictures that nothing was trained on."""
        with autocast_on(self.device):
            return measure_unseen(model, self.unseen)


def sharpen_decoder(folder: Path, workshop: Workshop, redrawn: Redrawn, schedule: Schedule) -> dict[str, float]:
    """Train the shipped decoder further, or what is left of it; returns the figures that are kept beside its weights.

    The weights are in `folder/vae`.
    """
    result = folder / "vae"
    if not (result / FIGURES).exists():
        torch.manual_seed(schedule.seed)
        model = copy.deepcopy(workshop.shipped).to(workshop.device)
        rivals = Rivals(model, PatchDiscriminator()).to(workshop.device).train()
        for part in (model.encoder, model.quant_conv):
            part.requires_grad_(False)
        show = shown_by(model, schedule, workshop, redrawn)

        def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
            latents, images = turn_alike(*show(step, generator), generator)
            with autocast_on(workshop.device):
                drawn = model.decode(latents).sample
            share = SHARE * min(1.0, step / DISCRIMINATING)
            return score(drawn.float(), images, workshop.perceptual, rivals.discriminator, share)

        def measure() -> dict[str, float]:
            return workshop.measure(model) | measure_redrawn(model, redrawn, workshop.device)

        stage = Stage(folder, rivals, schedule, plain_of_rivals, {"discriminator.": DISCRIMINATOR_RATE})
        stage.train(loss, measure, workshop.between)
        model.eval().save_pretrained(result)
        write_figures(result, measure)
    return json.loads((result / FIGURES).read_text(encoding="utf-8"))


def shown_by(
    model: Any, schedule: Schedule, workshop: Workshop, redrawn: Redrawn
) -> Callable[[int, torch.Generator], tuple[Tensor, Tensor]]:
    """What makes the latents and pictures of a step: crops, whole pictures now and then, and redrawn ones by turns."""
    canvas = Canvas(workshop.drawings)
    whole = max(1, schedule.batch * CROP**2 // 128**2)

    def show(step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        turn, is_redrawn = divmod(step, 2)
        if is_redrawn:
            rows = torch.randint(HELD, len(redrawn.latents), (whole,), generator=generator).tolist()
            latents, images = redrawn.latents[rows].float(), as_images(redrawn, rows)
            return latents.to(workshop.device), images.to(workshop.device)
        size = (whole, 128) if turn % WHOLE == WHOLE - 1 else (schedule.batch, CROP)
        images = canvas.batch(*size, LATE, generator).to(workshop.device)
        with torch.no_grad(), autocast_on(workshop.device):
            return sample_latents(model.encode(images).latent_dist, generator), images

    return show


def as_images(redrawn: Redrawn, rows: list[int]) -> Tensor:
    """The true pictures of these rows, `(rows, 3, SIZE, SIZE)` from −1 to 1."""
    return to_channels(redrawn.pictures[rows]) * 2 - 1


def score(
    drawn: Tensor, images: Tensor, perceptual: PerceptualDistance, discriminator: nn.Module, share: float
) -> dict[str, Tensor]:
    """The losses of pixels, the perceptual distance of one picture in `PERCEPTUAL_SHARE`, and the two of the rivals.

    The adversarial one pulls at the pictures by `share` of what the others do.
    """
    values = score_pixels(drawn, images)
    count = max(1, len(drawn) // PERCEPTUAL_SHARE)
    with autocast_on(drawn.device):
        distance = perceptual(drawn[:count], images[:count]).mean()
        adversarial = adversarial_loss(discriminator, drawn)
        own = discriminator_loss(discriminator, drawn, images)
    loss = values["loss"] + PERCEPTUAL_WEIGHT * distance
    loss = loss + balance(loss, adversarial, drawn, share) * adversarial + own
    return values | {"loss": loss, "perceptual": distance, "adversarial": adversarial, "discriminator": own}


def plain_of_rivals(name: str) -> bool:
    """The discriminator, whose weights are normalised, and the autoencoder's own plain layers."""
    return name.startswith("discriminator.") or plain(name)


@torch.no_grad()
def measure_redrawn(model: Any, redrawn: Redrawn, device: torch.device) -> dict[str, float]:
    """Mean PSNR in dB and sharpness of redrawn pictures that are not shown; other views of their drawings are."""
    true = as_images(redrawn, list(range(min(HELD, len(redrawn.latents)))))
    with autocast_on(device):
        parts = [
            model.decode(part.float().to(device)).sample.float().cpu() for part in redrawn.latents[:HELD].split(16)
        ]
    found = torch.cat(parts)
    return {
        "psnr redrawn": round(float(psnr(found, true).mean()), 2),
        "sharpness redrawn": round(sharpness(found, true), 3),
    }


def write_figures(folder: Path, measure: Callable[[], Mapping[str, float]]) -> None:
    """Write what `measure` finds into the folder, unless figures are there."""
    path = folder / FIGURES
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            found = measure()
        with whole_file(path) as building:
            building.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def autocast_on(device: torch.device) -> torch.autocast:
    """Autocast to bf16 on that device."""
    return torch.autocast(device.type, torch.bfloat16)
