"""Scenes: where drawings lie in a picture, how large they are, and on what."""

from __future__ import annotations

import numpy as np
import pytest

from tools.starter.drawings.render import SIZE
from tools.starter.drawings.scenes import (
    BACKGROUNDS,
    JITTER,
    LOOSE,
    PAIRED,
    PLACES,
    RELATIONS,
    SMALL,
    Scene,
    draw_scene,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)


def block(colour: tuple[int, int, int]) -> np.ndarray:
    drawing = np.zeros((SIZE, SIZE, 4), np.uint8)
    drawing[...] = (*colour, 255)
    return drawing


def box(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of what has this colour."""
    rows, columns = np.nonzero((picture == colour).all(-1))
    return columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1


def boxes(scene: Scene, *colours: tuple[int, int, int], count: int = 60) -> list[list[tuple[int, int, int, int]]]:
    rng = np.random.default_rng(1)
    pictures = [draw_scene([block(colour) for colour in colours], scene, False, rng) for _ in range(count)]
    return [[box(picture, colour) for colour in colours] for picture in pictures]


@pytest.mark.parametrize("background", ["", "dark blue"])
def test_a_loose_drawing_is_smaller_by_a_fifth_at_most_and_stays_inside(background):
    found = [each[0] for each in boxes(Scene(("fox",), background=background), RED)]
    sides = [width for _, _, width, _ in found]
    assert all(width == height for _, _, width, height in found)
    assert LOOSE[0] <= min(sides) < LOOSE[0] + 6 and LOOSE[1] - 6 < max(sides) <= LOOSE[1]
    picture = draw_scene([block(RED)], Scene(("fox",), background=background), False, np.random.default_rng(2))
    others = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()} - {RED}
    assert others == {BACKGROUNDS.get(background, (255, 255, 255))}


@pytest.mark.parametrize("where", PLACES)
def test_a_small_drawing_lies_where_it_is_said_to(where):
    across, down = PLACES[where]
    for ((left, top, width, height),) in boxes(Scene(("fox",), where, small=True), RED):
        assert SMALL[0] <= width == height <= SMALL[1]
        free = SIZE - width
        assert left / free == pytest.approx(across, abs=JITTER + 0.5 / free + 1e-9)
        assert top / free == pytest.approx(down, abs=JITTER + 0.5 / free + 1e-9)


@pytest.mark.parametrize("relation", RELATIONS)
def test_two_drawings_lie_in_their_halves(relation):
    axis = RELATIONS.index(relation)
    for first, second in boxes(Scene(("fox", "owl"), relation), RED, BLUE):
        assert first[axis] + first[axis + 2] <= SIZE // 2 <= second[axis]
        for place in (first, second):
            assert PAIRED[0] <= place[2] == place[3] <= PAIRED[1]
            assert 0.3 < place[1 - axis] / (SIZE - place[2]) < 0.7
