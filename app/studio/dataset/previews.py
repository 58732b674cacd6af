"""Previews of a draft's pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.atomic_files import whole_file

if TYPE_CHECKING:
    from PIL import Image

    from trainers.data.source import Crop

PREVIEW_SIDE, LARGE_SIDE, PART_SIDE = 480, 1600, 320
PART = "part-{}.webp"


def save_preview(image: Image.Image, place: Path, side: int = PREVIEW_SIDE) -> None:
    """Write the preview of an `RGB` or `RGBA` image, at most `side` pixels wide and high."""
    from PIL import Image

    from trainers.data.decode import flatten

    small = flatten(image)
    small = small.copy() if small is image else small
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    with whole_file(place) as building:
        small.save(building, "WEBP", quality=82, method=2)


def open_small(path: Path) -> Image.Image:
    """A stored picture, scaled down to view size. Raises UnreadableError."""
    from trainers.data.decode import open_image

    return open_image(path, keep_pixels=(2 * PREVIEW_SIDE) ** 2, formats=("PNG",))


def large_preview(picture: Path, previews: Path) -> Path:
    """A copy for the editor, made on first use. Raises UnreadableError."""
    from trainers.data.decode import open_image

    place = previews / f"{picture.stem}-large.webp"
    if not place.is_file():
        save_preview(open_image(picture, formats=("PNG",)), place, LARGE_SIDE)
    return place


def part_preview(picture: Path, crop: Crop | None, previews: Path) -> Path:
    """A small copy of the trained part of a picture, which replaces that of another. Raises UnreadableError."""
    from trainers.data.source import Source

    key = hashlib.sha256(f"{picture.stem} {crop}".encode()).hexdigest()[:16]
    place = previews / PART.format(key)
    if not place.is_file():
        for earlier in previews.glob(PART.format("*")):
            earlier.unlink(missing_ok=True)
        save_preview(Source(open_small(picture), crop).picture(), place, PART_SIDE)
    return place
