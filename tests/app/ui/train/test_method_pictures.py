"""Every method's card has its drawing and its pictures, which are really before and after."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from PIL import Image

from app.ui.document.assets import STATIC, asset
from app.ui.train.method_pictures import SUFFIX, Box, draw_formula, find_picture
from trainers.adapters.about import Formula
from trainers.adapters.methods import METHODS


def pixels(name: str, size: tuple[int, int], most: int) -> np.ndarray:
    """What a page shows under this name, of this size, in at most so many bytes."""
    path = STATIC / f"{name}{SUFFIX}"
    assert find_picture(name) == asset(f"{name}{SUFFIX}") and path.stat().st_size <= most
    with Image.open(path) as picture:
        assert picture.size == size, "twice as large as it is shown"
        return np.asarray(picture.convert("RGB"), float)


@pytest.mark.parametrize("formula", get_args(Formula))
def test_every_formula_has_a_drawing(formula: Formula) -> None:
    boxes = [shape for shape in draw_formula(formula) if isinstance(shape, Box)]
    assert boxes and all(0 <= one.x <= one.x + one.width <= 176 for one in boxes)
    assert all(0 <= one.y <= one.y + one.height <= 56 and 0 < one.strength <= 1 for one in boxes)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_shown_at_work(name: str) -> None:
    above, below = np.array_split(pixels(f"methods/{name}", (524, 260), 32_000), 2)
    assert np.abs(above - below).mean() > 10, "the style shows"
    pixels(f"methods/small/{name}", (72, 72), 3_000)


def test_what_was_never_drawn_has_no_picture() -> None:
    assert find_picture("methods/nothing") == ""
