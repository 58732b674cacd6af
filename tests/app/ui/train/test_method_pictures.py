"""Every method's card has its drawing and its strip, which is really before and after."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from PIL import Image

from app.ui.train.method_pictures import STRIPS, SUFFIX, method_picture, method_strip
from trainers.adapters.about import Formula
from trainers.adapters.methods import METHODS


@pytest.mark.parametrize("formula", get_args(Formula))
def test_every_formula_has_a_drawing(formula: Formula) -> None:
    assert method_picture(formula).startswith("<svg") and "<rect" in method_picture(formula)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_shown_at_work(name: str) -> None:
    assert f'src="look/methods/{name}.webp"' in method_strip(name, "words") and 'alt="words"' in method_strip(
        name, "words"
    )
    with Image.open(STRIPS / f"{name}{SUFFIX}") as strip:
        pixels = np.asarray(strip.convert("RGB"), float)
    above, below = np.array_split(pixels, 2)
    assert np.abs(above - below).mean() > 10, "the style shows"


def test_a_method_that_was_never_drawn_has_no_strip() -> None:
    assert method_strip("nothing", "words") == ""
