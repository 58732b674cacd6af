"""The bundled image sets of step 1, as a strip of pictures each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from app.studio.paths import Paths
from trainers.data.decode import open_image
from trainers.data.sample_sets import SampleSet, read_sets
from trainers.messages import Message as _

SIDE, ACROSS, DOWN = 120, 4, 2


@dataclass(frozen=True)
class Strip:
    """A set as its button shows it."""

    name: str
    title: str
    count: int
    """Number of pictures."""
    file: Path
    """The picture of eight of them."""
    width: int
    height: int


def read_strips(paths: Paths) -> list[Strip]:
    """A strip for each set, drawn once."""
    folder = paths.public / "samples"
    folder.mkdir(mode=0o700, exist_ok=True)
    size = SIDE * ACROSS, SIDE * DOWN
    return [
        Strip(image_set.name, _(image_set.title), len(image_set.concepts), _draw(image_set, folder), *size)
        for image_set in read_sets().values()
    ]


def _draw(chosen: SampleSet, folder: Path) -> Path:
    place = folder / f"{chosen.name}.webp"
    if not place.exists():
        sheet = Image.new("RGB", (SIDE * ACROSS, SIDE * DOWN), "white")
        files = sorted(path for path in chosen.folder.iterdir() if path.suffix in (".png", ".jpg"))
        for number, path in enumerate(files[: ACROSS * DOWN]):
            small = open_image(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (number % ACROSS * SIDE, number // ACROSS * SIDE))
        sheet.save(place, quality=70)
    return place
