"""What each method makes of a bundled set, as strips for the studio's cards: `python -m benchmarks.pictures [METHOD]`.

Each method is trained by the preset that bears its name, on the starter; the concepts that are drawn are in none of its
training images. The upper row is the base, the lower one the base with the style.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from trainers.adapters.methods import METHODS
from trainers.config.build import build_config
from trainers.config.presets import STARTER, find_preset
from trainers.data.sample_sets import read_sets
from trainers.training.train import train

STRIPS = Path(__file__).parents[1] / "app" / "ui" / "static" / "methods"
SUFFIX = ".webp"

SETS: Mapping[str, str] = MappingProxyType({"lora": "black-line", "loha": "blob", "lokr": "black-line"})
"""The set that shows what a method is good at; without one, the first."""
DRAWN = (4, 5, 6, 0)
"""Which of the set's demo prompts, the first being 0."""
SIDE, GAP, SEED = 96, 4, 4


def main(*methods: str) -> None:
    """Train these methods, or every one, and write their strips."""
    STRIPS.mkdir(exist_ok=True)
    for method in methods or METHODS:
        place = STRIPS / f"{method}{SUFFIX}"
        draw_strip(method, SETS.get(method, "black-line")).save(place, "WEBP", quality=84, method=6)
        print(f"{place.name}: {place.stat().st_size} bytes", flush=True)


def draw_strip(method: str, sample: str) -> Image.Image:
    """Train a method on a bundled set and put what it draws before and after one above the other."""
    chosen = read_sets()[sample]
    options = {
        "name": method,
        "data": {"images": str(chosen.folder)},
        "sample": {"prompts": [chosen.demo_prompts[place] for place in DRAWN], "seeds": (SEED,), "every": 0},
    }
    config = build_config(find_preset(method).settings_for(STARTER), options)
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder)).run
        rows = [sorted((run / "samples" / step).glob("*.png")) for step in ("step-00000000", "final")]
        return join([[Image.open(path).convert("RGB") for path in row] for row in rows])


def join(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of pictures at `SIDE` pixels, `GAP` apart, on nothing."""
    width, height = (count * (SIDE + GAP) - GAP for count in (max(map(len, rows)), len(rows)))
    strip = Image.new("RGBA", (width, height))
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            small = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            strip.paste(small, (across * (SIDE + GAP), down * (SIDE + GAP)))
    return strip


if __name__ == "__main__":
    main(*sys.argv[1:])
