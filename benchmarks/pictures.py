"""Draws what each method learns from a bundled set, for the studio: `python -m benchmarks.pictures [METHOD]`.

Each method is trained by the preset that bears its name, on the starter; the concepts that are drawn are in none of its
training images. The upper row of a strip is the base, the lower one the base with the style, each picture as large as
the starter draws it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tools.command import reports_errors
from trainers.adapters.methods import METHODS
from trainers.config.build import build_config
from trainers.config.presets import STARTER, find_preset
from trainers.data.sample_sets import read_sets
from trainers.training.train import train

STATIC = Path(__file__).parents[1] / "app" / "ui" / "static"
STRIPS, THUMBS = STATIC / "methods", STATIC / "methods" / "small"
SUFFIX = ".webp"
SET = "black-line"
DRAWN, SEED = ("grinning face", "green apple", "hamburger", "dog face"), 4
"""What a strip shows, none of which is in the set, and with which seed."""
THUMB_OF = 1
"""Which picture of a strip's lower row is a method's small picture."""
GAP, SMALL = 4, 72
"""Pixels between pictures, and of the small ones: twice as many as they are shown with."""


@reports_errors
def main(*names: str) -> int:
    """Train these methods, or every one, and write their pictures."""
    for folder in (STRIPS, THUMBS):
        folder.mkdir(exist_ok=True)
    for name in names or METHODS:
        before, after = draw(name, DRAWN, SEED)
        write(join((before, after)), STRIPS / name)
        write(after[THUMB_OF].resize((SMALL, SMALL), Image.Resampling.LANCZOS), THUMBS / name)
    return 0


def write(picture: Image.Image, place: Path) -> None:
    """Write a picture as WebP."""
    path = place.with_name(f"{place.name}{SUFFIX}")
    picture.save(path, "WEBP", quality=80, method=6)
    print(f"{path.relative_to(STATIC)}: {path.stat().st_size} bytes", flush=True)


def draw(preset: str, prompts: Sequence[str], seed: int) -> tuple[list[Image.Image], list[Image.Image]]:
    """What a preset draws of these prompts before and after it was trained on the set."""
    options = {
        "name": preset,
        "data": {"images": str(read_sets()[SET].folder)},
        "sample": {"prompts": list(prompts), "seeds": (seed,), "every": 0},
    }
    config = build_config(find_preset(preset).settings_for(STARTER), options)
    with tempfile.TemporaryDirectory() as folder:
        result = train(config, Path(folder))
        if result.stopped_by:
            sys.exit(f"{preset} was stopped by {result.stopped_by}: its pictures stay as they were")
        before, after = (sorted((result.run / "samples" / step).glob("*.png")) for step in ("step-00000000", "final"))
        return [Image.open(path).convert("RGB") for path in before], [Image.open(path).convert("RGB") for path in after]


def join(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of pictures of one size, `GAP` apart, on white."""
    side = rows[0][0].width
    width, height = (count * (side + GAP) - GAP for count in (max(map(len, rows)), len(rows)))
    strip = Image.new("RGB", (width, height), "white")
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            strip.paste(picture, (across * (side + GAP), down * (side + GAP)))
    return strip


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
