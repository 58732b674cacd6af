"""Tries of a better autoencoder: each a design, learned and then sharpened, with its curve on pictures nobody saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tools.starter.networks.autoencoder import (
    EARLY,
    LATE,
    LINES_FROM,
    WHOLE,
    Canvas,
    Design,
    Reconstruction,
    make_autoencoder,
    plain,
    reconstruct_turned,
    score_pixels,
)
from tools.starter.networks.discriminator import PatchDiscriminator, adversarial_loss, balance, discriminator_loss
from tools.starter.networks.growth import grow_autoencoder
from tools.starter.networks.perceptual import PerceptualDistance
from tools.starter.networks.stage import Between, Schedule, Stage
from tools.starter.unseen import measure_unseen
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError

FIGURES = "figures.json"
PERCEPTUAL_WEIGHT = 0.3
PERCEPTUAL_SHARE = 4  # one picture in so many is compared by its features too, which cost as much as the autoencoder
DISCRIMINATOR_RATE = 0.1  # of the rate of the other plain parameters
LEARN = Schedule(steps=5_000, batch=32, rate=0.04, plain_rate=2e-3, measure_every=500)
SHARPEN = Schedule(steps=1_500, batch=32, rate=0.004, plain_rate=5e-4, warmup=100, cooldown=0.5, measure_every=500)


@dataclass(frozen=True)
class Try:
    """An autoencoder to train: from random values or, if `grown`, from the shipped one with more blocks and latents."""

    name: str
    design: Design
    learn: Schedule = LEARN
    sharpen: Schedule = SHARPEN
    crop: int = 64  # pixels
    grown: bool = False

    @property
    def stages(self) -> dict[str, Schedule]:
        """The schedule of each stage, by the name of its folder."""
        return {"learn": self.learn, f"sharpen-{self.learn.steps}": self.sharpen}

    @property
    def result(self) -> str:
        """The name of the folder with the finished weights and their figures."""
        return f"result-{self.learn.steps}-{self.sharpen.steps}"


TRIES = (
    Try(
        "f8c8-deeper",
        Design(layers=2, channels=8),
        Schedule(steps=5_000, batch=32, rate=0.02, plain_rate=1e-3, measure_every=500),
        grown=True,
    ),
    Try(
        "f16c32",
        Design(widths=(32, 64, 96, 128, 192), channels=32),
        Schedule(steps=5_000, batch=14, rate=0.04, plain_rate=2e-3, measure_every=500),
        Schedule(steps=1_500, batch=14, rate=0.004, plain_rate=5e-4, warmup=100, cooldown=0.5, measure_every=500),
        crop=96,
    ),
)
"""In the order in which they are made; each sees about as many pixels in a step as the others."""


class Rivals(nn.Module):
    """The autoencoder and the discriminator, trained in one step by losses that each reach only one of them."""

    def __init__(self, autoencoder: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.autoencoder, self.discriminator = autoencoder, discriminator


def score_learning(found: Reconstruction, perceptual: PerceptualDistance) -> dict[str, Tensor]:
    """The losses of pixels, and the perceptual distance of one picture in `PERCEPTUAL_SHARE`."""
    values = score_pixels(found)
    count = max(1, len(found.drawn) // PERCEPTUAL_SHARE)
    with torch.autocast(found.drawn.device.type, torch.bfloat16):
        distance = perceptual(found.drawn[:count], found.images[:count]).mean()
    return values | {"loss": values["loss"] + PERCEPTUAL_WEIGHT * distance, "perceptual": distance}


def score_sharpening(
    found: Reconstruction, perceptual: PerceptualDistance, discriminator: nn.Module
) -> dict[str, Tensor]:
    """The losses of learning, with the adversarial one in balance with them, and the discriminator's own."""
    values = score_learning(found, perceptual)
    with torch.autocast(found.drawn.device.type, torch.bfloat16):
        adversarial = adversarial_loss(discriminator, found.drawn)
        own = discriminator_loss(discriminator, found.drawn, found.images)
    weight = balance(values["loss"], adversarial, found.drawn)
    loss = values["loss"] + weight * adversarial + own
    return values | {"loss": loss, "adversarial": adversarial, "discriminator": own}


@dataclass(frozen=True)
class Workshop:
    """What every try is made with: drawings, the shipped autoencoder, losses and measures, the gate between steps."""

    drawings: Path
    shipped: nn.Module
    perceptual: PerceptualDistance
    unseen: Mapping[str, Tensor]
    between: Between
    device: torch.device

    def measure(self, model: nn.Module) -> dict[str, float]:
        """The figures of an autoencoder on pictures that nothing was trained on."""
        with torch.autocast(self.device.type, torch.bfloat16):
            return measure_unseen(model, self.unseen)


def make_try(folder: Path, wanted: Try, workshop: Workshop) -> dict[str, float]:
    """Train a try, or what is left of it; returns the figures that are kept beside its weights in `folder`.

    Raises VelaturaError if the folder holds a try of that name with other settings.
    """
    result = folder / wanted.result
    if not (result / FIGURES).exists():
        check_settings(folder, wanted)
        learning, sharpening = (folder / name for name in wanted.stages)
        model = sharpen(sharpening, wanted, learn(learning, wanted, workshop), workshop)
        model.save_pretrained(result)
        measure_once(result, model, workshop)
    return json.loads((result / FIGURES).read_text(encoding="utf-8"))


def measure_once(folder: Path, model: nn.Module, workshop: Workshop) -> None:
    """Write the figures of an autoencoder into the folder, unless they are there."""
    path = folder / FIGURES
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            found = workshop.measure(model)
        with whole_file(path) as building:
            building.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def check_settings(folder: Path, wanted: Try) -> None:
    """Write the try's settings into its folder, or compare with those there: only the number of steps may change."""
    path, settings = folder / "try.json", json.loads(json.dumps(asdict(wanted)))
    for schedule in ("learn", "sharpen"):
        del settings[schedule]["steps"]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as building:
            building.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return
    held = json.loads(path.read_text(encoding="utf-8"))
    changed = sorted(name for name in {*held, *settings} if held.get(name) != settings.get(name))
    if changed:
        raise VelaturaError(
            f"{folder} holds a try with other settings ({', '.join(changed)}); give the new one another name."
        )


def learn(folder: Path, wanted: Try, workshop: Workshop) -> Any:
    """All of the autoencoder, by pixels, features, and latents that turn with their pictures."""
    torch.manual_seed(wanted.learn.seed)
    model = grow_autoencoder(wanted.design, workshop.shipped) if wanted.grown else make_autoencoder(wanted.design)
    model = model.to(workshop.device).train()
    show = shown_by(wanted, wanted.learn, workshop)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        found = reconstruct_turned(model, show(step, generator), generator, autocast_on(workshop.device))
        return score_learning(found, workshop.perceptual)

    stage = Stage(folder, model, wanted.learn, plain)
    stage.train(loss, lambda: workshop.measure(model), workshop.between)
    return model.eval()


def sharpen(folder: Path, wanted: Try, model: Any, workshop: Workshop) -> Any:
    """The decoder alone, against a discriminator: the latents stay what they are."""
    torch.manual_seed(wanted.sharpen.seed)
    rivals = Rivals(model, PatchDiscriminator()).to(workshop.device).train()
    for part in (model.encoder, model.quant_conv):
        part.requires_grad_(False)
    show = shown_by(wanted, wanted.sharpen, workshop, late=True)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        found = reconstruct_turned(model, show(step, generator), generator, autocast_on(workshop.device))
        return score_sharpening(found, workshop.perceptual, rivals.discriminator)

    stage = Stage(folder, rivals, wanted.sharpen, plain_of_rivals, {"discriminator.": DISCRIMINATOR_RATE})
    stage.train(loss, lambda: workshop.measure(model), workshop.between)
    return model.eval()


def plain_of_rivals(name: str) -> bool:
    """The discriminator, whose weights are normalised, and the autoencoder's own plain layers."""
    return name.startswith("discriminator.") or plain(name)


def shown_by(
    wanted: Try, schedule: Schedule, workshop: Workshop, late: bool = False
) -> Callable[[int, torch.Generator], Tensor]:
    """What draws the batch of a step: crops, now and then fewer whole pictures, hard lines more often later on."""
    canvas = Canvas(workshop.drawings)

    def show(step: int, generator: torch.Generator) -> Tensor:
        whole = step % WHOLE == WHOLE - 1
        count = max(1, schedule.batch * wanted.crop**2 // 128**2) if whole else schedule.batch
        mix = EARLY if step < LINES_FROM and not (late or wanted.grown) else LATE
        return canvas.batch(count, 128 if whole else wanted.crop, mix, generator).to(workshop.device)

    return show


def autocast_on(device: torch.device) -> Callable[[], torch.autocast]:
    """Autocast to bf16 on that device."""
    return lambda: torch.autocast(device.type, torch.bfloat16)
