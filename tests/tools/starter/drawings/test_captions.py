"""Captions: their order, and how often what is said."""

from __future__ import annotations

from collections import Counter

import pytest

from tools.starter.drawings.captions import article, describe, write_caption
from tools.starter.drawings.scenes import Scene
from tools.starter.drawings.sets import Concepts
from trainers.randomness import generator

CONCEPTS = Concepts({"animals": ("fox", "ant")}, {"animals": ("bat",)}, {"fox": ("vixen", "reynard")})
DRAWS = 6_000
NEAR = {"abs": 0.02}  # more than three standard deviations of any share below


def write(concept: str, background: str = "", **more: object) -> list[str]:
    return write_all(Scene((concept,), background=background), **more)


def write_all(scene: Scene, style: str = "glossy", **more: object) -> list[str]:
    draw = generator("captions", *scene.things)
    return [write_caption(CONCEPTS, scene, style, draw, **more) for _ in range(DRAWS)]


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
    assert not [caption for caption in write("ant", names_style=True) if caption and "glossy" not in caption]


def test_a_style_is_named_before_or_after():
    captions = [caption for caption in write("ant", names_style=True) if caption]
    found = {caption for caption in captions if not {"an", "one"} & {*caption.split()}}
    assert found == {
        "ant, glossy", "ant, glossy style", "ant in glossy style", "glossy ant", "glossy, ant",
    }  # fmt: skip
    first = sum(caption.startswith("glossy") for caption in captions)
    assert first / len(captions) == pytest.approx(0.3, **NEAR)


def test_a_quarter_of_the_captions_use_another_word_and_a_quarter_an_opening():
    captions = [caption for caption in write("fox") if caption and not caption.startswith("glossy")]
    said = [caption.partition(",")[0].removesuffix(" in glossy style") for caption in captions]
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


@pytest.mark.parametrize(
    ("name", "before"),
    [("fox", "a "), ("avocado", "an "), ("unicorn", "a "), ("umbrella", "an "), ("french fries", ""), ("cactus", "a ")],
)
def test_the_article(name, before):
    assert article(name) == before


def test_where_a_small_thing_lies_is_always_said_and_that_it_is_small_mostly():
    captions = [caption for caption in write_all(Scene(("ant",), "at the top left", small=True)) if caption]
    assert share(captions, "ant at the top left") == 1
    assert share(captions, "small ant") == pytest.approx(0.5, **NEAR)
    assert share([caption for caption in write_all(Scene(("ant",), small=True)) if caption], "small ant") == 1


def test_two_things_are_named_with_how_they_lie():
    beside, above = (write_all(Scene(("ant", "owl"), where), "") for where in ("beside", "above"))
    said = {caption.strip(", ") for caption in beside if "style" not in caption and "an" not in caption.split()}
    assert said - {""} == {
        "ant and owl", "ant beside owl", "ant next to owl", "ant left of owl", "owl right of ant",
    }  # fmt: skip
    assert "an ant above an owl" in above and "owl under ant" in above and not any(" and " in each for each in above)


def test_a_background_is_always_named():
    captions = write("ant", "dark blue")
    assert {caption.endswith(", dark blue background") for caption in captions if caption} == {True}
    assert share(captions, "background") == pytest.approx(0.9, **NEAR)
