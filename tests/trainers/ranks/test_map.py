"""The map of ranks: its colours, its key, what it says in words, and that the largest ranks there are fit in."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trainers.ranks.history import RankHistory
from trainers.ranks.map import FULL, LABEL, NONE, RIGHT, TOP, WIDTH, draw_rank_map, draw_ranks, key, shade, ticks
from trainers.runs.events import Recorder
from trainers.runs.run import RANK_MAP

LAYERS = ("unet.mid_block.attentions.0.a", "unet.mid_block.attentions.0.b", "unet.up_blocks.1.resnets.0.conv1")
MANY = tuple(f"unet.up_blocks.{number}.resnets.0.{name}" for number in range(40) for name in "abcde")


def words_of(history: RankHistory, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """What is written on a map, with its distance from the left."""
    found: list[tuple[float, str]] = []
    write = ImageDraw.ImageDraw.text

    def text(self, xy, words, *others, **more):
        found.append((xy[0], words))
        return write(self, xy, words, *others, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    draw_ranks(history)
    return found


def test_the_map_has_a_row_a_layer_and_a_column_a_moment(tmp_path):
    pixels = np.asarray(draw_ranks(RankHistory(LAYERS, (1, 2), ((0, 4, 2), (4, 4, 2)))))
    left, right = LABEL + WIDTH // 4, LABEL + 3 * WIDTH // 4
    drawn = [[tuple(pixels[y, x]) for y in range(TOP, len(pixels))] for x in (left, right)]
    assert [tuple(dict.fromkeys(c for c in column if c in (NONE, FULL, shade(2, 4)))) for column in drawn] == [
        (NONE, FULL, shade(2, 4)),
        (FULL, shade(2, 4)),
    ]
    assert draw_rank_map(tmp_path) is None
    record = Recorder(tmp_path)
    record("ranks", step=1, ranks={LAYERS[0]: 3})
    place = draw_rank_map(tmp_path)
    assert place == tmp_path / RANK_MAP and Image.open(place).width == pixels.shape[1] == LABEL + WIDTH + RIGHT


@pytest.mark.parametrize("largest", [0, 1, 3, 6, 7, 12, 15, 64, 350, 359, 360, 400, 1024])
def test_a_key_has_few_shades_with_numbers_however_large_the_rank(largest):
    shown = key(largest)
    assert (shown[0], shown[-1]) == (0, largest) and shown == sorted(set(shown)) and len(shown) <= 8
    draw_ranks(RankHistory(LAYERS, (1,), ((0, largest, 0),)))
    if largest <= 6:
        assert shown == list(range(largest + 1))


def test_the_round_numbers_of_a_key():
    assert key(12) == [0, 2, 4, 6, 8, 10, 12]
    assert key(350) == [0, 100, 200, 300, 350]
    assert key(1024) == [0, 200, 400, 600, 800, 1024]


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [
        (1, 60, [1, 10, 20, 30, 40, 50, 60]),
        (4, 400, [4, 100, 200, 300, 400]),
        (1, 2, [1, 2]),
        (5, 5, [5]),
        (10, 1010, [10, 200, 400, 600, 800, 1010]),
    ],
)
def test_steps_are_named_along_the_way(first, last, shown):
    assert ticks(first, last) == shown


def test_a_map_says_whose_it_is_what_it_counts_and_where_each_row_ends(monkeypatch):
    history = RankHistory(LAYERS, (1, 2), ((0, 12, 2), (12, 7, 2)), "dusk", "adalora")
    found = words_of(history, monkeypatch)
    words = [word for _, word in found]
    assert words[0] == "dusk · adalora: rank in each layer"
    assert [word for x, word in found if x > LABEL + WIDTH] == ["at the end", "12", "7", "2"]
    assert [word for word in words if word in ("a", "b", "conv1")] == ["a", "b", "conv1"]
    assert {"0", "2", "12", "step 1", "step 2"} <= set(words) and "latest cut" in words[-1]


def test_where_rows_are_too_low_for_names_a_block_says_its_mean(monkeypatch):
    found = words_of(RankHistory(MANY, (1,), ((1, 2, 3, 4, 0) * 40,)), monkeypatch)
    assert [word for x, word in found if x > LABEL + WIDTH] == ["mean at the end", *["2.0"] * 40]
    assert not {"a", "b"} & {word for _, word in found}


def test_what_a_dylora_moves_is_not_called_its_rank(monkeypatch):
    words = [word for _, word in words_of(RankHistory(LAYERS, (1,), ((1, 2, 3),), "dusk", "dylora"), monkeypatch)]
    assert words[0] == "dusk · dylora: components with 90 % of the change in each layer"
    assert "keeps its full rank" in words[-1]
