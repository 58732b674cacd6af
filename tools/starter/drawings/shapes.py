"""Images with the statistics of photographs: overlapping shapes with textures, light and blur ("dead leaves")."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from trainers.atomic_files import whole_file

SIZE = 128
COUNT = 1_200


def draw_shapes(folder: Path, count: int = COUNT) -> np.ndarray:
    """`(count, SIZE, SIZE, 3)` uint8, mapped from `folder`; drawn there first, unless some are there already."""
    path = folder / "shapes.npy"
    if not path.exists():
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            images = np.stack(list(pool.map(draw_one, range(count), chunksize=16)))
        with whole_file(path) as building:
            np.save(building, images)
    return np.load(path, mmap_mode="r")


def draw_one(seed: int) -> np.ndarray:
    """One image, `(SIZE, SIZE, 3)` uint8: shapes of all sizes over one another, as objects occlude each other.

    Sizes follow a cubic power law, which gives the statistics of natural images (Lee, Mumford and Huang 2001, §3).
    """
    rng = np.random.default_rng(seed)
    canvas = texture(rng)
    for _ in range(int(rng.integers(4, 60))):
        mask = Image.new("L", (SIZE, SIZE))
        _draw_outline(ImageDraw.Draw(mask), rng)
        if rng.random() < 0.3:
            mask = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 3))))
        cover = np.asarray(mask, np.float32)[..., None] / 255
        canvas = canvas * (1 - cover) + texture(rng) * cover
    if rng.random() < 0.3:
        canvas = canvas + rng.normal(0, rng.uniform(0.005, 0.03), canvas.shape)
    return (canvas.clip(0, 1) * 255).round().astype(np.uint8)


def texture(rng: np.random.Generator) -> np.ndarray:
    """A surface, `(SIZE, SIZE, 3)` in 0 to 1: noise of a 1/f spectrum between two colours, lit from one side."""
    frequencies = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    frequencies[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(SIZE, SIZE))) / frequencies ** rng.uniform(0.6, 2.2)
    noise = np.fft.irfft2(spectrum, (SIZE, SIZE))
    noise = 0.5 + 0.25 * (noise - noise.mean()) / (noise.std() + 1e-8)
    first, second = _colour(rng), _colour(rng)
    second = first + (second - first) * rng.uniform(0, 0.7)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0, 0.4) * (np.cos(angle) * rows + np.sin(angle) * columns)
    return first + (second - first) * noise[..., None] + light[..., None]


def _colour(rng: np.random.Generator) -> np.ndarray:
    """A colour, greyish more often than not, as in photographs."""
    grey = rng.uniform(0, 1)
    return np.clip(grey + rng.normal(0, rng.choice([0.05, 0.15, 0.35]), 3), 0, 1)


def _draw_outline(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Draw an ellipse, a polygon or a line, white."""
    smallest, largest = 2.0, 60.0
    radius = (smallest**-2 - rng.random() * (smallest**-2 - largest**-2)) ** -0.5
    x, y = rng.uniform(0, SIZE, 2)
    kind = rng.integers(3)
    if kind == 0:
        wide, high = radius * rng.uniform(0.4, 1, 2)
        pen.ellipse((x - wide, y - high, x + wide, y + high), fill=255)
    elif kind == 1:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
        pen.polygon([(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles], fill=255)
    else:
        angle, length = rng.uniform(0, np.pi), radius * 3
        ends = (x, y, x + length * np.cos(angle), y + length * np.sin(angle))
        pen.line(ends, fill=255, width=int(rng.integers(1, 6)))
