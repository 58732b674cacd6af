"""Every method's card has its drawing and its strip, which is really before and after."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from PIL import Image

from app.ui.document.assets import asset
from app.ui.train.method_pictures import STRIPS, SUFFIX, Box, draw_formula, find_strip
from trainers.adapters.about import Formula
from trainers.adapters.methods import METHODS


@pytest.mark.parametrize("formula", get_args(Formula))
def test_every_formula_has_a_drawing(formula: Formula) -> None:
    boxes = [shape for shape in draw_formula(formula) if isinstance(shape, Box)]
    assert boxes and all(0 <= one.x <= one.x + one.width <= 176 for one in boxes)
    assert all(0 <= one.y <= one.y + one.height <= 56 and 0 < one.strength <= 1 for one in boxes)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_shown_at_work(name: str) -> None:
    assert find_strip(name) == asset(f"methods/{name}.webp")
    with Image.open(STRIPS / f"{name}{SUFFIX}") as strip:
        pixels = np.asarray(strip.convert("RGB"), float)
    above, below = np.array_split(pixels, 2)
    assert np.abs(above - below).mean() > 10, "the style shows"


def test_a_method_that_was_never_drawn_has_no_strip() -> None:
    assert find_strip("nothing") == ""
