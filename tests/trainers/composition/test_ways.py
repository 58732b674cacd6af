"""How a way of combining styles is written, and what is refused."""

from __future__ import annotations

import pytest

from trainers.composition.switch import Switch
from trainers.composition.ways import WAYS, Composition, check_count, read_composition
from trainers.errors import VelaturaError


def test_a_way_and_its_number():
    assert read_composition("ties") == Composition("ties", 0.2)
    assert read_composition(" ties:0.3 ") == Composition("ties", 0.3)
    assert read_composition("switch:3").number == 3
    assert all(read_composition(name).way == name for name in WAYS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mean", "there is no way 'mean' to combine styles; available are sum, svd, ties"),
        ("sum:2", "sum takes no number"),
        ("ties:0", "ties:share must be a number from 0.001 to 1, not '0'"),
        ("dare:1", "from 0 to 0.99"),
        ("dare:nan", "from 0 to 0.99, not 'nan'"),
        ("switch:2.5", "switch:steps must be a whole number from 1 to 1000, not '2.5'"),
        ("svd:", "a whole number from 1 to 1024, not ''"),
    ],
)
def test_what_is_no_way(text, said):
    with pytest.raises(VelaturaError, match=said):
        read_composition(text)


def test_how_many_styles_a_way_takes():
    check_count(Composition(), 0)
    check_count(read_composition("k-lora"), 2)
    for text, count, said in (
        ("k-lora", 3, "k-lora needs two styles, the content first, then the style; 3 are given"),
        ("k-lora", 1, "; one is given"),
        ("switch", 1, "switch needs at least two styles; one is given"),
        ("ties", 0, "at least two styles; none is given"),
    ):
        with pytest.raises(VelaturaError, match=said):
            check_count(read_composition(text), count)


def test_styles_take_turns_as_the_paper_has_it():
    k, τ = 3, 2
    expected = [((t - 1) % (k * τ)) // τ + 1 for t in range(1, 15)]
    switch = Switch(None, k, τ)
    assert [switch.style_at(step, None, 0) + 1 for step in range(14)] == expected
    assert expected[:8] == [1, 1, 2, 2, 3, 3, 1, 1]
