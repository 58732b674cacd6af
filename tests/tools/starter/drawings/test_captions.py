"""Captions: their order, and how often what is said."""

from __future__ import annotations

import pytest

from tools.starter.drawings.captions import article, describe, write_caption
from tools.starter.drawings.scenes import Scene
from tools.starter.drawings.sets import Concepts
from trainers.randomness import generator

CONCEPTS = Concepts({"animals": ("fox", "ant")}, {"animals": ("bat",)}, {"fox": ("vixen", "reynard")})
DRAWS = 6_000
NEAR = {"abs": 0.02}  # more than three standard deviations of any share below


def write(scene: Scene, style: str = "glossy", names_style: bool = False) -> list[str]:
    draw = generator("captions", *scene.things)
    captions = [write_caption(CONCEPTS, scene, style, draw, names_style) for _ in range(DRAWS)]
    said = [caption for caption in captions if caption]
    assert len(said) / DRAWS == pytest.approx(0.9, **NEAR)  # the others teach what no caption draws
    return said


def share(captions: list[str], *parts: str) -> float:
    return sum(any(part in caption for part in parts) for caption in captions) / len(captions)


def test_the_plain_caption_is_concept_style_background():
    assert describe("fox") == "fox" and describe("fox", "", "red") == "fox, red background"
    assert describe("fox", "glossy", "dark blue") == "fox, glossy, dark blue background"


def test_a_style_is_named_mostly_or_always_before_or_after():
    assert share(write(Scene(("ant",))), "glossy") == pytest.approx(0.85, **NEAR)
    captions = write(Scene(("ant",)), names_style=True)
    assert {caption for caption in captions if not {"an", "one"} & {*caption.split()}} == {
        "ant, glossy", "ant, glossy style", "ant in glossy style", "glossy ant", "glossy, ant",
    }  # fmt: skip
    assert sum(caption.startswith("glossy") for caption in captions) / len(captions) == pytest.approx(0.3, **NEAR)


def test_a_quarter_of_the_captions_use_another_word_and_a_quarter_an_opening():
    captions = write(Scene(("fox",)))
    assert share(captions, "vixen", "reynard") == pytest.approx(0.25, **NEAR)
    assert share(captions, "a fox", "one fox", "a vixen", "one vixen", "a reynard", "one reynard") == pytest.approx(
        0.25, **NEAR
    )


def test_the_article():
    names = {"fox": "a ", "avocado": "an ", "unicorn": "a ", "umbrella": "an ", "french fries": "", "cactus": "a "}
    assert {name: article(name) for name in names} == names


def test_place_size_and_background_are_said():
    captions = write(Scene(("ant",), "at the top left", small=True))
    assert share(captions, "ant at the top left") == 1 and share(captions, "small ant") == pytest.approx(0.5, **NEAR)
    assert share(write(Scene(("ant",), small=True)), "small ant") == 1
    assert all(caption.endswith(", blue background") for caption in write(Scene(("ant",), background="blue")))


def test_two_things_are_named_with_how_they_lie():
    beside, above = (write(Scene(("ant", "owl"), where), "") for where in ("beside", "above"))
    said = {caption.strip(", ") for caption in beside if "style" not in caption and "an" not in caption.split()}
    assert said - {""} == {
        "ant and owl", "ant beside owl", "ant next to owl", "ant left of owl", "owl right of ant",
    }  # fmt: skip
    assert "an ant above an owl" in above and "owl under ant" in above and not share(above, " and ")
