"""Pictures side by side: every one in its place, at its own shape."""

from __future__ import annotations

import pytest
from PIL import Image

from trainers.sampling.grid import PAPER, make_grid

RED, BLUE, GREEN, GOLD = "#ff0000", "#0000ff", "#00ff00", "#ffcc00"


def rows(size: tuple[int, int]) -> list[tuple[str, list[Image.Image]]]:
    colours = (("before", (RED, BLUE)), ("after", (GREEN, GOLD)))
    return [(name, [Image.new("RGB", size, colour) for colour in pair]) for name, pair in colours]


def boxes(page: Image.Image) -> dict[tuple[int, ...], tuple[int, int, int, int]]:
    """Where each pure colour lies on the page."""
    found = {}
    for colour in (RED, BLUE, GREEN, GOLD):
        rgb = tuple(Image.new("RGB", (1, 1), colour).getpixel((0, 0)))
        channels = [
            band.point(lambda v, want=want: 255 if v == want else 0)
            for band, want in zip(page.split(), rgb, strict=True)
        ]
        mask = Image.merge("RGB", channels).convert("L").point(lambda v: 255 if v == 255 else 0)
        found[rgb] = mask.getbbox()
    return found


@pytest.mark.parametrize(
    ("size", "cell", "expected"),
    [((64, 64), 0, (64, 64)), ((64, 96), 0, (64, 96)), ((640, 320), 0, (320, 160)), ((640, 320), 128, (128, 64))],
)
def test_pictures_keep_their_shape_and_place(size, cell, expected):
    page = make_grid(rows(size), ("a fox", "a boat"), "dusk", cell)
    red, blue, green, gold = boxes(page).values()
    for box in (red, blue, green, gold):
        assert (box[2] - box[0], box[3] - box[1]) == expected
    assert red[0] == green[0] < blue[0] == gold[0] and red[1] == blue[1] < green[1] == gold[1]
    assert gold[2] < page.width and gold[3] < page.height
    assert page.getpixel((page.width - 1, page.height - 1)) == Image.new("RGB", (1, 1), PAPER).getpixel((0, 0))


def test_words_are_drawn_and_take_room():
    plain, titled = make_grid(rows((64, 64)), ("", "")), make_grid(rows((64, 64)), ("a fox", "a boat"), "dusk")
    assert titled.height > plain.height and titled.width == plain.width
    top = titled.crop((0, 0, titled.width, boxes(titled)[255, 0, 0][1]))
    assert len(top.getcolors(10**6)) > 10  # anti-aliased letters above the pictures
    label = titled.crop((0, 0, 80, titled.height))
    assert len(label.getcolors(10**6)) > 10
