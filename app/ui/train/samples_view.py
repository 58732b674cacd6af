"""The bundled image sets as a way to begin: a strip of pictures each."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from app.studio.paths import Paths
from app.ui.components import text as words
from app.ui.web.html import file_address, text
from app.units import counted
from trainers.data.decode import open_image
from trainers.data.sample_sets import SampleSet, read_sets

SIDE, ACROSS, DOWN = 120, 4, 2


def build_strips(paths: Paths) -> str:
    """A button for each set, with eight of its pictures; the strips are drawn once."""
    folder = paths.public / "samples"
    folder.mkdir(mode=0o700, exist_ok=True)
    buttons = "".join(_button(chosen, _strip(chosen, folder)) for chosen in read_sets().values())
    return f'<section class="samples"><p>{text(words.SAMPLES)}</p><div>{buttons}</div></section>'


def _button(chosen: SampleSet, strip: Path) -> str:
    many = counted(len(chosen.concepts), "picture")
    return (
        f'<button type="button" data-sample="{text(chosen.name)}"><img src="{text(file_address(strip))}" alt="" '
        f'width="{SIDE * ACROSS}" height="{SIDE * DOWN}"><b>{text(chosen.title)}</b><small>{many}</small></button>'
    )


def _strip(chosen: SampleSet, folder: Path) -> Path:
    place = folder / f"{chosen.name}.webp"
    if not place.exists():
        sheet = Image.new("RGB", (SIDE * ACROSS, SIDE * DOWN), "white")
        files = sorted(path for path in chosen.folder.iterdir() if path.suffix in (".png", ".jpg"))
        for number, path in enumerate(files[: ACROSS * DOWN]):
            small = open_image(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (number % ACROSS * SIDE, number // ACROSS * SIDE))
        sheet.save(place, quality=85)
    return place
