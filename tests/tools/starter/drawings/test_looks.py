"""Other looks of the drawings: what each makes of known pixels, and of which drawings it is made."""

from __future__ import annotations

import numpy as np

from tools.starter.drawings.looks import BLOCK, CONTOUR, draw_in_blocks, print_in_ink, read_looks, tone_in_sepia
from tools.starter.drawings.sets import read_icon_sets

SIDE = 32


def square(colour: tuple[int, int, int]) -> np.ndarray:
    """A square of that colour, eight pixels from every edge, on nothing."""
    drawing = np.zeros((SIDE, SIDE, 4), np.uint8)
    drawing[8:24, 8:24] = (*colour, 255)
    return drawing


def test_ink_is_black_and_white_within_a_black_edge():
    light, dark = (print_in_ink(square(colour)) for colour in ((250, 200, 90), (60, 20, 120)))
    edge = CONTOUR // 2
    assert (light[8 + edge : 24 - edge, 8 + edge : 24 - edge, :3] == 255).all()
    assert (light[8 : 8 + edge, 8:24, :3] == 0).all() and (light[8:24, 24 - edge : 24, :3] == 0).all()
    assert (dark[8:24, 8:24, :3] == 0).all()
    assert (light[..., 3] == square((0, 0, 0))[..., 3]).all()


def test_sepia_runs_from_dark_brown_to_cream():
    corners = [tone_in_sepia(square((value,) * 3))[16, 16].tolist() for value in (0, 255)]
    assert corners == [[50, 24, 8, 255], [255, 238, 206, 255]]
    red, green, blue, _ = tone_in_sepia(square((128, 128, 128)))[16, 16].astype(int)
    assert red > green > blue and abs(red - (50 + 205 * 128 / 255)) <= 1


def test_blocks_have_one_colour_and_hard_edges():
    drawing = square((10, 200, 30))
    drawing[8:24, 8:12, :3] = (210, 0, 30)  # half of the first block's columns
    found = draw_in_blocks(drawing)
    assert found.shape == drawing.shape and set(np.unique(found[..., 3])) == {0, 255}
    blocks = found.reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK, 4)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert found[8, 8].tolist() == [110, 100, 30, 255] and found[8, 16].tolist() == [10, 200, 30, 255]


def test_every_trained_set_is_taught_as_it_is_and_none_that_is_held_out_in_any_look():
    looks, sets = read_looks(), read_icon_sets()
    trained = [icon_set for icon_set in sets if icon_set.trained]
    assert [(look.drawings, look.style) for look in looks[: len(trained)]] == [(one.name, one.style) for one in trained]
    assert {look.drawings.removesuffix("-outline") for look in looks} == {one.name for one in trained}
    others = {look.style for look in looks[len(trained) :]}
    assert others == {"ink", "pixel art", "outline", "sepia"} and not others & {one.style for one in sets}
