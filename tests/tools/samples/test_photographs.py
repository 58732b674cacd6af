"""Photographs out of a wheel, cut where the catalogue says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.tools.packages import WHEEL, pack_photographs
from tests.trainers.data.pictures import red_and_blue_swapped
from tools.samples.photographs import cut_photographs, cut_square
from tools.samples.sources import Cut, Photographs
from trainers.errors import VelaturaError

WIDTH, HEIGHT = 40, 30


def gradient() -> Image.Image:
    """Red counts the columns, green the rows."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return Image.fromarray(np.stack([columns, rows, columns * 0], -1).astype(np.uint8))


def test_squares_are_cut_where_the_catalogue_says(tmp_path):
    sha256 = pack_photographs(tmp_path / WHEEL, {"art/gradient.png": gradient()})
    cuts = {"left": Cut("art/gradient.png", 0, 0, 30), "right": Cut("art/gradient.png", 24, 14, 16)}
    images = cut_photographs(Photographs(WHEEL, sha256, cuts), 16, tmp_path)
    assert list(images) == ["left", "right"]
    assert (images["right"].mode, images["right"].size) == ("RGB", (16, 16))
    assert images["right"].getpixel((0, 0)) == (24, 14, 0)
    assert images["right"].getpixel((15, 15)) == (39, 29, 0)
    values = np.asarray(images["left"], float)  # scaled by 30 / 16: column 5 lies at (5 + ½) · 30 / 16 − ½
    assert values[8, 5, :2] == pytest.approx(((5.5 * 30 / 16) - 0.5, (8.5 * 30 / 16) - 0.5), abs=0.51)


@pytest.mark.parametrize(("left", "top", "size"), [(-1, 0, 10), (0, -1, 10), (31, 0, 10), (0, 21, 10), (0, 0, 31)])
def test_squares_beyond_the_photograph_are_refused(left, top, size, tmp_path):
    gradient().save(tmp_path / "gradient.png")
    with pytest.raises(VelaturaError, match=r"partly outside of gradient\.png, which is 40 × 30\.$"):
        cut_square(tmp_path / "gradient.png", Cut("gradient.png", left, top, size), 8)


def test_a_missing_photograph_is_named(tmp_path):
    sha256 = pack_photographs(tmp_path / WHEEL, {"art/gradient.png": gradient()})
    photographs = Photographs(WHEEL, sha256, {"moon": Cut("art/moon.png", 0, 0, 10)})
    with pytest.raises(VelaturaError, match=r"^velatura_art-1\.5.*\.whl holds no art/moon\.png\.$"):
        cut_photographs(photographs, 8, tmp_path)


def test_colours_are_brought_to_srgb_and_greys_to_three_channels(tmp_path):
    cut = Cut("", 0, 0, 8)
    red = Image.new("RGB", (8, 8), "red")
    red.save(tmp_path / "red.png", icc_profile=red_and_blue_swapped())
    square = cut_square(tmp_path / "red.png", cut, 4)
    assert square.getpixel((2, 2)) == pytest.approx((0, 0, 255), abs=2)
    assert "icc_profile" not in square.info
    Image.new("L", (8, 8), 90).save(tmp_path / "grey.png")
    square = cut_square(tmp_path / "grey.png", cut, 4)
    assert (square.mode, square.getpixel((2, 2))) == ("RGB", (90, 90, 90))
