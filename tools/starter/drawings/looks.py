"""Other looks of the training drawings, computed from their pixels.

A denoiser that saw only coloured icons learns ink with difficulty. No look is made from a held-out set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from tools.starter.drawings.paint import LUMINANCE
from tools.starter.drawings.render import OUTLINED
from tools.starter.drawings.sets import trained_sets

Drawing = np.ndarray
"""One drawing, `RGBA`, `(SIZE, SIZE, 4)` uint8."""

THRESHOLD = 140  # of 255: what is darker prints black
CONTOUR = 5  # pixels, odd: how wide the edge of an ink drawing is
BLOCK = 8  # pixels a side of a square of pixel art: those of the latents' grid, since others do not survive it


def as_it_is(drawing: Drawing) -> Drawing:
    """Return the drawing unchanged."""
    return drawing


def print_in_ink(drawing: Drawing) -> Drawing:
    """Black and white, with a black edge around the whole."""
    cover = Image.fromarray(drawing[..., 3])
    inner = np.asarray(cover.filter(ImageFilter.MinFilter(CONTOUR)))
    paper = 255 * (drawing[..., :3] @ np.array(LUMINANCE) > THRESHOLD)
    tones = np.minimum(paper, inner).astype(np.uint8)
    return np.dstack([tones, tones, tones, drawing[..., 3]])


def tone_in_sepia(drawing: Drawing) -> Drawing:
    """Browns from dark to nearly white."""
    brightness = (drawing[..., :3] @ np.array(LUMINANCE) / 255)[..., None]
    dark, light = np.array([50, 24, 8]), np.array([255, 238, 206])
    return np.dstack([(dark + (light - dark) * brightness).round().astype(np.uint8), drawing[..., 3]])


def draw_in_blocks(drawing: Drawing) -> Drawing:
    """Squares of one colour each, with hard edges."""
    image = Image.fromarray(drawing)
    small = np.asarray(image.resize((image.width // BLOCK, image.height // BLOCK), Image.Resampling.BOX)).copy()
    small[..., 3] = 255 * (small[..., 3] > 127)
    return small.repeat(BLOCK, 0).repeat(BLOCK, 1)


@dataclass(frozen=True)
class Look:
    """Training drawings of one style: stored drawings by name, a change of their pixels, the style's words."""

    drawings: str
    make: Callable[[Drawing], Drawing]
    style: str

    @property
    def is_plain(self) -> bool:
        """Whether the drawings are those of their set, unchanged."""
        return self.make is as_it_is and not self.drawings.endswith("-outline")

    @property
    def scales(self) -> bool:
        """Whether it is the same style when it is drawn smaller or elsewhere."""
        return self.make is not draw_in_blocks


def read_looks() -> tuple[Look, ...]:
    """The training sets unchanged, then their other looks."""
    sets = tuple(Look(icon_set.name, as_it_is, icon_set.style) for icon_set in trained_sets())
    made = (("ink", print_in_ink, ("noto", "twemoji")), ("pixel art", draw_in_blocks, ("twemoji", "emojione")))
    looks = tuple(Look(name, make, style) for style, make, names in made for name in names)
    outlines = tuple(Look(f"{name}-outline", as_it_is, "outline") for name in OUTLINED)
    return (*sets, *looks, *outlines, Look("fluent-emoji", tone_in_sepia, "sepia"))
