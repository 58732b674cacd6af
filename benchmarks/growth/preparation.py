"""Preparation by number of pictures: import, the search for duplicates among them, reading, and encoding."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random

import torch
from PIL import Image, ImageDraw

from benchmarks.full_unet import seconds
from benchmarks.growth.series import Axis
from benchmarks.growth.steps import starter
from trainers.config.sections import Data
from trainers.data.cache import LatentCache
from trainers.data.dataset import CENTRE, Dataset, Draw, load_dataset
from trainers.data.decode import open_image
from trainers.data.ingest import duplicates, ingest
from trainers.data.likeness import fingerprint, pixel_hash
from trainers.models.images import encode_images
from trainers.training.step.trainee import fingerprint as key_of

SIDE = 64
BATCH = 4
IMPORT, COMPARISON, READING, ENCODING = "import, s", "search for duplicates, s", "reading, s", "encoding, s"


def picture(number: int) -> Image.Image:
    """Shapes of any place, size and colour, so that no two pictures are near duplicates."""
    chance = Random(number)

    def colour() -> tuple[int, int, int]:
        return chance.randrange(256), chance.randrange(256), chance.randrange(256)

    image = Image.new("RGB", (SIDE, SIDE), colour())
    pen = ImageDraw.Draw(image)
    for _ in range(8):
        x, y = chance.randrange(SIDE), chance.randrange(SIDE)
        width, height = chance.randrange(4, SIDE), chance.randrange(4, SIDE)
        shape = chance.choice((pen.ellipse, pen.rectangle))
        shape((x - width // 2, y - height // 2, x + width // 2, y + height // 2), fill=colour())
    return image


def of_pictures(count: int, _round: int) -> Mapping[str, float]:
    """Everything that a run does with its pictures before they are trained on."""
    stride = starter().stride
    with tempfile.TemporaryDirectory(prefix="velatura-growth-") as name:
        source, target, cache_folder = Path(name, "source"), Path(name, "dataset"), Path(name, "cache")
        source.mkdir()
        for number in range(count):
            picture(number).save(source / f"{number}.png")
        whole = seconds(lambda: ingest(source, target, False))
        images = [open_image(path) for path in sorted(target.glob("*.png"))]
        hashes, prints = [pixel_hash(image) for image in images], [fingerprint(image) for image in images]
        compared = seconds(lambda: duplicates(hashes, hashes, prints))
        read: list[Dataset] = []
        reading = seconds(lambda: read.append(load_dataset(target, Data(), 0, SIDE, stride)))
        encoding = seconds(lambda: encode(read[0], cache_folder))
    return {IMPORT: whole - compared, COMPARISON: compared, READING: reading, ENCODING: encoding}


@torch.no_grad()
def encode(dataset: Dataset, folder: Path) -> None:
    """Write every picture's latents to the cache, in batches."""
    model, kept = starter(), LatentCache(folder, base_key())
    draws = [Draw(index, False, CENTRE, "") for index in range(len(dataset.items))]
    for begin in range(0, len(draws), BATCH):
        kept.get_or_encode(dataset, draws[begin : begin + BATCH], lambda pixels: encode_images(model, pixels))


@cache
def base_key() -> str:
    return key_of(starter().vae)


AXES = (
    Axis(
        name="pictures",
        unit="pictures",
        sizes=(10, 32, 100, 316, 1000, 3162, 10_000),
        measure=of_pictures,
        allowed=dict.fromkeys((IMPORT, COMPARISON, READING, ENCODING), 1.0),
        grows="preparation, starter",
        once=3000,
    ),
)
