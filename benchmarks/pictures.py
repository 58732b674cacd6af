"""What methods and presets make of a bundled set, for the studio: `python -m benchmarks.pictures [METHOD or PRESET]`.

Each method is trained by the preset that bears its name, on the starter; the concepts that are drawn are in none of its
training images. The upper row of a strip is the base, the lower one the base with the style. The three presets from
subtle to faithful draw one subject with one seed, twice as large as the starter draws, for sharp edges.
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

STATIC = Path(__file__).parents[1] / "app" / "ui" / "static"
STRIPS, STOPS = STATIC / "methods", STATIC / "stops"
PRESETS, SUBJECT, LARGE = ("quick", "balanced", "faithful"), 7, 256
"""The presets of the three stops, which demo prompt they draw, and how large."""
SUFFIX = ".webp"

SETS: Mapping[str, str] = MappingProxyType({"lora": "black-line", "loha": "blob", "lokr": "black-line"})
"""The set that shows what a method is good at; without one, the first."""
DRAWN = (4, 5, 6, 0)
"""Which of the set's demo prompts, the first being 0."""
SIDE, GAP, SEED = 96, 4, 4


def main(*methods: str) -> None:
    """Train these methods and presets, or every one, and write their pictures."""
    for folder in (STRIPS, STOPS):
        folder.mkdir(exist_ok=True)
    for preset in PRESETS:
        if not methods or preset in methods:
            place = STOPS / f"{preset}{SUFFIX}"
            draw_stop(preset).save(place, "WEBP", quality=84, method=6)
            print(f"{place.name}: {place.stat().st_size} bytes", flush=True)
    for method in [each for each in methods if each in METHODS] if methods else METHODS:
        place = STRIPS / f"{method}{SUFFIX}"
        draw_strip(method, SETS.get(method, "black-line")).save(place, "WEBP", quality=84, method=6)
        print(f"{place.name}: {place.stat().st_size} bytes", flush=True)


def draw_strip(method: str, sample: str) -> Image.Image:
    """Train a method on a bundled set and put what it draws before and after one above the other."""
    return join(list(_trained(method, sample, DRAWN)))


def draw_stop(preset: str) -> Image.Image:
    """Train a preset on the first set and draw the subject that all presets draw."""
    _, (picture,) = _trained(preset, "black-line", (SUBJECT,))
    return picture.resize((LARGE, LARGE), Image.Resampling.LANCZOS)


def _trained(preset: str, sample: str, drawn: Sequence[int]) -> tuple[list[Image.Image], list[Image.Image]]:
    """What a preset draws before and after it was trained on a bundled set."""
    chosen = read_sets()[sample]
    options = {
        "name": preset,
        "data": {"images": str(chosen.folder)},
        "sample": {"prompts": [chosen.demo_prompts[place] for place in drawn], "seeds": (SEED,), "every": 0},
    }
    config = build_config(find_preset(preset).settings_for(STARTER), options)
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder)).run
        before, after = (sorted((run / "samples" / step).glob("*.png")) for step in ("step-00000000", "final"))
        return [Image.open(path).convert("RGB") for path in before], [Image.open(path).convert("RGB") for path in after]


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
