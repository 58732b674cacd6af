"""The styles with a known truth: pictures to train on and, of other concepts, the same style's true pictures.

Two are icon sets that the starter never saw, one is photographs, and three are drawn by a program from icons: they were
made after every preset and every rule had been chosen.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from tools.icons import compose_svg, draw_svg, fetch_package, icon_name, read_table
from tools.starter.drawings.sets import read_icon_sets
from trainers.data.sample_sets import read_sets

PACKAGES = Path("outputs/styles-benchmark/packages")
SIZE = 256
"""Pixels a side for which the changes are written; at more, they grow with the picture."""
PHOTOGRAPH = "photograph"
TRAINED = (
    "cat face", "snail", "cherries", "automobile", "cow face", "carrot", "sailboat", "crying face",
    "panda", "elephant", "cheese wedge", "winking face",
)  # fmt: skip
"""Concepts to train on; the first four are of four kinds."""
UNSEEN = (
    "fox", "owl", "pizza", "strawberry", "rainbow", "robot", "ghost", "bus", "rocket", "key", "umbrella", "castle",
)  # fmt: skip
"""Concepts whose true pictures show how near a training came."""
UNSEEN_PHOTOGRAPHS = ("space shuttle", "cup of coffee", "galaxies", "gravel")
MOST_PHOTOGRAPHS = 8
"""There are no more to train on."""
SMALLER, LARGER = 4, 12
"""Numbers of pictures to train on."""


@dataclass(frozen=True)
class Style:
    """The icons of one set, each changed by a program."""

    icons: str
    change: Callable[[Image.Image], Image.Image]


def as_drawn(icon: Image.Image) -> Image.Image:
    """An `RGBA` icon on white."""
    return _on((255, 255, 255), icon)


def blueprint(icon: Image.Image) -> Image.Image:
    """White contours on deep blue."""
    scale = icon.width // SIZE
    grey = _on((255, 255, 255), icon).convert("L").filter(ImageFilter.GaussianBlur(1.5 * scale))
    wide = grey
    for _ in range(scale):
        wide = wide.filter(ImageFilter.MaxFilter(9))
    edges = np.asarray(ImageChops.subtract(wide, grey), dtype=float) / 255
    lines = np.clip(6 * edges - 0.2, 0, 1)[..., None]
    ground, ink = np.array([16, 44, 120]), np.array([235, 242, 255])
    return Image.fromarray((ground + (ink - ground) * lines).round().astype(np.uint8))


def two_inks(icon: Image.Image) -> Image.Image:
    """A print in red and teal on cream paper, in three tones, with the red plate 4 pixels of 256 off."""
    grey = np.asarray(_on((255, 255, 255), icon).convert("L"), dtype=float) / 255
    cover = np.asarray(icon.getchannel("A"), dtype=float) / 255
    teal = np.digitize(1 - grey, [0.35, 0.65]) / 2
    shift = 4 * icon.width // SIZE
    red = np.roll(0.7 * (cover > 0.5) * (grey > 0.2), (shift, shift), axis=(0, 1))
    paper, inks = np.array([250, 240, 214]) / 255, np.array([[0.0, 0.45, 0.47], [0.93, 0.27, 0.25]])
    printed = paper * (1 - teal[..., None] * (1 - inks[0])) * (1 - red[..., None] * (1 - inks[1]))
    return Image.fromarray((255 * printed).round().astype(np.uint8))


def watercolour(icon: Image.Image) -> Image.Image:
    """Pale blurred washes with a darker edge, on grained paper."""
    scale = icon.width // SIZE
    blurred = _on((255, 255, 255), icon).filter(ImageFilter.GaussianBlur(5 * scale))
    image = np.asarray(blurred, dtype=float) / 255
    cover = icon.getchannel("A").filter(ImageFilter.GaussianBlur(3 * scale))
    smooth = np.asarray(cover.filter(ImageFilter.GaussianBlur(6 * scale)), dtype=float)
    edge = np.abs(np.asarray(cover, dtype=float) - smooth)
    grain = np.random.default_rng(7).normal(0, 0.008, (SIZE // 4, SIZE // 4)).repeat(4 * scale, 0).repeat(4 * scale, 1)
    wash = 0.45 + 0.5 * image - 0.5 * edge[..., None] / 255 + grain[..., None]
    return Image.fromarray((255 * np.clip(wash, 0, 1)).round().astype(np.uint8))


STYLES: Mapping[str, Style | None] = MappingProxyType(
    {
        "black-line": Style("fluent-emoji-high-contrast", as_drawn),
        "blob": Style("noto-v1", as_drawn),
        PHOTOGRAPH: None,
        "blueprint": Style("noto", blueprint),
        "two-inks": Style("noto-v1", two_inks),
        "watercolour": Style("noto", watercolour),
    }
)
"""All styles; None stands for the bundled photographs."""
NEVER_TUNED = ("blueprint", "two-inks", "watercolour")


def write_style(name: str, count: int, folder: Path, scale: int = 1) -> tuple[Path, Path]:
    """The folders `trained`, with `count` captioned pictures or as many as there are, and `unseen`, the truth.

    Pictures have `scale` times `SIZE` pixels a side; photographs are enlarged. Raises VelaturaError if the icons cannot
    be fetched.
    """
    style = STYLES[name]
    trained, unseen = folder / "trained", folder / "unseen"
    for place in (trained, unseen):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    if style is None:
        photographs = read_sets()[PHOTOGRAPH]
        shown = [concept for concept in photographs.concepts if concept not in UNSEEN_PHOTOGRAPHS][:count]
        for concepts, place in ((shown, trained), (UNSEEN_PHOTOGRAPHS, unseen)):
            for concept in concepts:
                for path in photographs.folder.glob(f"{icon_name(concept)}.*"):
                    shutil.copy(path, place)
        for path in folder.glob("*/*.jpg") if scale > 1 else ():
            with Image.open(path) as photograph:
                large = photograph.resize((scale * SIZE, scale * SIZE), Image.Resampling.LANCZOS)
            large.save(path, quality=95)
    else:
        _draw(style, TRAINED[:count], trained, scale)
        _draw(style, UNSEEN, unseen, scale)
    return trained, unseen


def unseen_of(name: str) -> tuple[str, ...]:
    """The concepts of a style's truth."""
    return UNSEEN_PHOTOGRAPHS if STYLES[name] is None else UNSEEN


def _draw(style: Style, concepts: tuple[str, ...], folder: Path, scale: int) -> None:
    icons = next(each for each in read_icon_sets() if each.name == style.icons)
    table = read_table(fetch_package(icons.package, icons.version, icons.integrity, PACKAGES))
    for concept in concepts:
        stem = folder / icon_name(concept)
        style.change(draw_svg(compose_svg(table, icon_name(concept)), scale * SIZE)).save(stem.with_suffix(".png"))
        stem.with_suffix(".txt").write_text(concept + "\n", encoding="utf-8")


def _on(colour: tuple[int, int, int], icon: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", icon.size, (*colour, 255))
    ground.alpha_composite(icon)
    return ground.convert("RGB")
