"""Captions: their order, and how often what is said."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from tools.starter.drawings.captions import BACKGROUNDS, describe, happens, one_of, write_caption
from tools.starter.drawings.sets import Concepts
from trainers.randomness import generator

CONCEPTS = Concepts({"animals": ("fox", "ant")}, ("bat",), {"fox": ("vixen", "reynard")})
DRAWS = 6_000
NEAR = {"abs": 0.02}  # more than three standard deviations of any share below


def write(concept: str, background: str = "") -> list[str]:
    draw = generator("captions", concept)
    return [write_caption(CONCEPTS, concept, "glossy", background, draw) for _ in range(DRAWS)]


def share(captions: list[str], part: str) -> float:
    return sum(part in caption for caption in captions) / len(captions)


@pytest.mark.parametrize(
    ("words", "caption"),
    [
        (("fox",), "fox"),
        (("fox", "glossy"), "fox, glossy"),
        (("fox", "", "red"), "fox, red background"),
        (("fox", "glossy", "dark blue"), "fox, glossy, dark blue background"),
    ],
)
def test_the_plain_caption_is_concept_style_background(words, caption):
    assert describe(*words) == caption


def test_now_and_then_nothing_is_said_or_no_style():
    captions = write("ant")
    said = [caption for caption in captions if caption]
    assert 1 - len(said) / DRAWS == pytest.approx(0.1, **NEAR)
    assert share(said, "glossy") == pytest.approx(0.85, **NEAR)
    assert share(said, "glossy style") == pytest.approx(0.85 / 3, **NEAR)
    endings = {caption.partition(",")[2] for caption in said}
    assert endings == {"", " glossy", " glossy style"}


def test_a_quarter_of_the_captions_use_another_word_and_a_quarter_an_opening():
    said = [caption.partition(",")[0] for caption in write("fox") if caption]
    words = Counter(caption.split()[-1] for caption in said)
    assert {word: count / len(said) for word, count in words.items()} == {
        "fox": pytest.approx(0.75, **NEAR),
        "vixen": pytest.approx(0.125, **NEAR),
        "reynard": pytest.approx(0.125, **NEAR),
    }
    openings = Counter(" ".join(caption.split()[:-1]) for caption in said)
    assert {opening: count / len(said) for opening, count in openings.items()} == {
        "": pytest.approx(0.75, **NEAR),
        "a": pytest.approx(0.125, **NEAR),
        "one": pytest.approx(0.0625, **NEAR),
        "a picture of a": pytest.approx(0.0625, **NEAR),
    }


def test_a_concept_without_synonyms_keeps_its_name():
    assert {caption.partition(",")[0].split()[-1] for caption in write("ant") if caption} == {"ant"}


def test_a_background_is_always_named():
    captions = write("ant", "dark blue")
    assert {caption.endswith(", dark blue background") for caption in captions if caption} == {True}
    assert share(captions, "background") == pytest.approx(0.9, **NEAR)


def test_the_same_numbers_write_the_same_caption():
    assert write("fox") == write("fox") != write("ant")


def test_backgrounds_are_colours_that_differ_and_white_is_none_of_them():
    assert "white" not in BACKGROUNDS
    assert all(len(colour) == 3 and all(0 <= byte <= 255 for byte in colour) for colour in BACKGROUNDS.values())
    colours = torch.tensor([*BACKGROUNDS.values(), (255, 255, 255)]).float()
    distances = torch.cdist(colours, colours) + 1e3 * torch.eye(len(colours))
    assert distances.min() > 30


def test_chance():
    draw = generator("chance")
    assert sum(happens(0.3, draw) for _ in range(DRAWS)) / DRAWS == pytest.approx(0.3, **NEAR)
    counts = Counter(one_of("abc", draw) for _ in range(DRAWS))
    assert {letter: count / DRAWS for letter, count in counts.items()} == dict.fromkeys(
        "abc", pytest.approx(1 / 3, **NEAR)
    )
