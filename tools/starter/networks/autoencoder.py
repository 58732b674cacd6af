"""The autoencoder: its training data, its losses, its schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tools.starter.drawings.paint import paint
from tools.starter.drawings.render import OUTLINED, open_drawings
from tools.starter.drawings.sets import read_icon_sets, trained_sets
from tools.starter.drawings.shapes import draw_shapes
from tools.starter.networks.stage import Schedule, Stage, autocast_on

SCHEDULE = Schedule(steps=4_500, batch=32, rate=0.04, plain_rate=2e-3, measure_every=500)
CROP = 64  # pixels; every `WHOLE`th step sees a quarter as many whole images instead
WHOLE = 6
KL_WEIGHT = 1e-4
LINES_FROM = 1_000  # the step from which hard lines, the last thing it learns, are shown more often


@dataclass(frozen=True)
class Mix:
    """How often outlines are shown, against a set, and how often a drawing is printed in two tones."""

    outlines: float
    inked: float


EARLY, LATE = Mix(0.25, 0.0), Mix(0.8, 0.12)


def make_autoencoder() -> Any:
    """An `AutoencoderKL` with random values; without attention, it treats a crop as it treats the whole image."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(32, 64, 128, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=8,
        sample_size=128,
        latent_channels=4,
        layers_per_block=1,
        mid_block_add_attention=False,
    )


class Canvas:
    """Makes batches of painted crops of the training drawings."""

    def __init__(self, drawings: Path) -> None:
        trained = [icon_set.name for icon_set in trained_sets()]
        outlines = [f"{name}-outline" for name in OUTLINED]
        self.sets = [open_drawings(drawings, name) for name in trained + outlines]
        self.trained = len(trained)
        self.shapes = draw_shapes(drawings)

    def batch(self, count: int, size: int, mix: Mix, generator: torch.Generator) -> Tensor:
        """`(count, 3, size, size)` from −1 to 1."""
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        weights = np.array([1.0] * self.trained + [mix.outlines] * (len(self.sets) - self.trained))
        chosen = rng.choice(len(self.sets), count, p=weights / weights.sum())
        drawings = np.stack([cut(self.sets[index].pixels, size, rng) for index in chosen])
        shapes = np.stack([cut(self.shapes, size, rng) for _ in range(count)])
        return paint(to_channels(drawings), to_channels(shapes), mix.inked, generator)


def cut(images: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square of `size` pixels from anywhere in any of the images."""
    top, left = rng.integers(0, images.shape[1] - size + 1, 2)
    return images[rng.integers(len(images)), top : top + size, left : left + size]


def to_channels(images: np.ndarray) -> Tensor:
    """`(B, H, W, C)` bytes as `(B, C, H, W)` from 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def on_white(drawings: np.ndarray) -> Tensor:
    """`RGBA` drawings, `(B, H, W, 4)` bytes, on white as `(B, 3, H, W)` from −1 to 1."""
    layers = to_channels(drawings)
    cover = layers[:, 3:]
    return (layers[:, :3] * cover + 1 - cover) * 2 - 1


def turn(images: Tensor, way: int) -> Tensor:
    """One of the eight ways to lay a square, mirrored or turned."""
    images = images.transpose(2, 3) if way & 1 else images
    images = images.flip(2) if way & 2 else images
    return images.flip(3) if way & 4 else images


def shrink(images: Tensor) -> Tensor:
    """Halve width and height."""
    return torch.nn.functional.avg_pool2d(images, 2)


def turn_alike(latents: Tensor, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn, mirror or shrink half of the batches, latents and pictures alike.

    Latents that turn and shrink with their image are easier to denoise (EQ-VAE, Kouzelis et al. 2025).
    """
    way = int(torch.randint(16, (), generator=generator))  # half of the steps leave the image as it lies
    if way < 8:
        latents, images = turn(latents, way), turn(images, way)
    elif float(torch.rand((), generator=generator)) < 0.4:
        latents, images = shrink(latents), shrink(images)
    return latents, images


def sample_latents(posterior: Any, generator: torch.Generator) -> Tensor:
    """Sample latents from their posterior."""
    noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean.device)
    return posterior.mean + posterior.std * noise


def reconstruction_loss(
    model: Any, images: Tensor, generator: torch.Generator, autocast: Callable[[], torch.autocast]
) -> dict[str, Tensor]:
    """The pixel losses and a little KL of images that are turned or shrunk with their latents."""
    with autocast():
        posterior = model.encode(images).latent_dist
        latents, images = turn_alike(sample_latents(posterior, generator), images, generator)
        drawn = model.decode(latents).sample
    values = score_pixels(drawn.float(), images)
    kl = posterior.kl().mean() / posterior.mean[0].numel()
    return values | {"loss": values["loss"] + KL_WEIGHT * kl, "kl": kl}


def score_pixels(drawn: Tensor, images: Tensor) -> dict[str, Tensor]:
    """L1, L1 of the gradients, and squares."""
    l1 = (drawn - images).abs().mean()
    edges = sum((drawn.diff(dim=axis) - images.diff(dim=axis)).abs().mean() for axis in (2, 3))
    return {"loss": l1 + edges + (drawn - images).square().mean(), "l1": l1}


def psnr(drawn: Tensor, true: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image, `(B,)` dB, of values from −1 to 1."""
    error = (drawn.float().clamp(-1, 1) - true.float()).square().mean((1, 2, 3))
    return 10 * torch.log10(4 / error.clamp_min(1e-10))


def reconstruct(model: Any, images: Tensor, batch: int = 16) -> Tensor:
    """Images through the autoencoder, without noise."""
    parts = [model.decode(model.encode(part).latent_dist.mode()).sample for part in images.split(batch)]
    return torch.cat(parts)


def train_autoencoder(
    folder: Path, drawings: Path, device: torch.device, references: Mapping[str, Tensor], schedule: Schedule = SCHEDULE
) -> Any:
    """Train and return it, logging the mean PSNR of each of the `references`; resumes an interrupted training."""
    torch.manual_seed(schedule.seed)
    model = make_autoencoder().to(device)
    canvas = Canvas(drawings)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        whole = step % WHOLE == WHOLE - 1
        count, size = (schedule.batch // 4, 2 * CROP) if whole else (schedule.batch, CROP)
        images = canvas.batch(count, size, EARLY if step < LINES_FROM else LATE, generator)
        return reconstruction_loss(model, images.to(device), generator, lambda: autocast_on(device))

    Stage(folder, model, schedule, plain).train(loss, lambda: measure_psnr(model, references))
    return model.eval()


def measure_psnr(model: Any, references: Mapping[str, Tensor]) -> dict[str, float]:
    """The mean PSNR of each of the `references` through the autoencoder, in dB."""
    figures = {}
    for name, images in references.items():
        true = images.to(model.device)
        with autocast_on(model.device):
            drawn = reconstruct(model, true)
        figures[f"psnr {name}"] = round(float(psnr(drawn, true).mean()), 2)
    return figures


def plain(name: str) -> bool:
    """Whether AdamW trains a parameter: the first and last layers, which Muon's even steps do not suit."""
    return any(part in name for part in ("encoder.conv_in", "decoder.conv_out", "quant_conv", "encoder.conv_out"))


def reference_images(drawings: Path, per_set: int = 100) -> dict[str, Tensor]:
    """Evenly chosen drawings of each set on white, to measure by."""
    chosen: dict[str, Tensor] = {}
    for icon_set in read_icon_sets():
        stored = open_drawings(drawings, icon_set.name)
        places = np.linspace(0, len(stored.names) - 1, per_set).astype(int)
        chosen[icon_set.name] = on_white(stored.pixels[places])
    return chosen
