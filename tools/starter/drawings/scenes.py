"""Scenes: one drawing, whole or smaller, somewhere, on a background, or two that lie beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tools.starter.drawings.render import SIZE

BACKGROUNDS = {
    "black": (16, 16, 20),
    "dark blue": (24, 36, 92),
    "blue": (72, 148, 232),
    "green": (88, 176, 96),
    "yellow": (250, 220, 96),
    "orange": (245, 160, 72),
    "red": (220, 72, 68),
    "pink": (248, 184, 208),
    "purple": (140, 98, 190),
    "brown": (140, 104, 78),
    "grey": (160, 164, 170),
}
"""Backgrounds by name, sRGB bytes; white is not named."""

PLACES = {
    "": (0.5, 0.5), "on the left": (0.0, 0.5), "on the right": (1.0, 0.5), "at the top": (0.5, 0.0),
    "at the bottom": (0.5, 1.0), "at the top left": (0.0, 0.0), "at the top right": (1.0, 0.0),
    "at the bottom left": (0.0, 1.0), "at the bottom right": (1.0, 1.0),
}  # fmt: skip
"""Where a small drawing lies, and which shares of the free width and height lie before it."""
RELATIONS = ("beside", "above")
"""How the first of two drawings lies relative to the second; beside it is left of it."""
LOOSE = (SIZE * 4 // 5, SIZE)  # pixels a side, of a drawing whose size is not told
SMALL = (SIZE * 3 // 8, SIZE * 9 // 16)
PAIRED = (SIZE * 3 // 8, SIZE // 2)
JITTER = 0.12  # of the free width or height: as far from its place a drawing may lie


@dataclass(frozen=True)
class Scene:
    """The things in a picture by name, how they lie (one of PLACES or RELATIONS), and the background's name."""

    things: tuple[str, ...]
    where: str = ""
    small: bool = False
    background: str = ""


def draw_scene(drawings: Sequence[np.ndarray], scene: Scene, whole: bool, rng: np.random.Generator) -> np.ndarray:
    """The picture, `(SIZE, SIZE, 3)` bytes, of one or two `RGBA` drawings; if `whole`, one fills it."""
    canvas = Image.new("RGBA", (SIZE, SIZE), (*BACKGROUNDS[scene.background], 255) if scene.background else "white")
    if len(drawings) == 2:
        for drawing, place in zip(drawings, _pair(scene.where, rng), strict=True):
            _put(canvas, drawing, *place)
        return np.asarray(canvas.convert("RGB"))
    size = SIZE if whole else _between(SMALL if scene.small else LOOSE, rng)
    free = SIZE - size
    if scene.small:
        shares = [float(np.clip(share + rng.uniform(-JITTER, JITTER), 0, 1)) for share in PLACES[scene.where]]
        left, top = (round(share * free) for share in shares)
    else:
        left, top = (int(place) for place in rng.integers(0, free + 1, 2))
    _put(canvas, drawings[0], size, left, top)
    return np.asarray(canvas.convert("RGB"))


def _pair(relation: str, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Size, left and top of two drawings: each in its half along one axis, anywhere in the middle across it."""
    places = []
    for half in (0, 1):
        size = _between(PAIRED, rng)
        along = half * SIZE // 2 + int(rng.integers(0, SIZE // 2 - size + 1))
        across = round((SIZE - size) * float(rng.uniform(0.35, 0.65)))
        places.append((size, along, across) if relation == "beside" else (size, across, along))
    return places


def _between(ends: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(ends[0], ends[1] + 1))


def _put(canvas: Image.Image, drawing: np.ndarray, size: int, left: int, top: int) -> None:
    image = Image.fromarray(drawing)
    if size != image.width:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    canvas.alpha_composite(image, (left, top))
