"""Whether a prompt is followed: what is seen in pictures, tried on true scenes, and the figures of a perfect model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tools.starter.small import TAUGHT
from tools.starter import prompts
from tools.starter.drawings.render import SIZE, open_drawings
from tools.starter.drawings.scenes import BACKGROUNDS, PLACES, RELATIONS, Scene, draw_scene
from tools.starter.drawings.sets import trained_sets
from tools.starter.networks.perception import Perception, make_network

SETS = {icon_set.style: icon_set for icon_set in trained_sets()}


def as_images(*pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def centred(drawing: np.ndarray, wanted: bool) -> np.ndarray:
    """The drawing, moved to the middle of its square if `wanted`: hand-made ones lie anywhere in it."""
    rows, columns = (np.flatnonzero(drawing[..., 3].any(axis)) for axis in (1, 0))
    moves = [(SIZE - line[0] - line[-1]) // 2 for line in (rows, columns)]
    return np.roll(drawing, moves, (0, 1)) if wanted else drawing


def draw(drawings, style: str, scene: Scene, whole: bool = False):
    stored = open_drawings(drawings, SETS[style].name)
    places = stored.find(scene.things)
    pixels = [centred(stored.pixels[places[thing]], scene.small) for thing in scene.things]
    return draw_scene(pixels, scene, whole, np.random.default_rng(9))


@pytest.mark.parametrize("place", PLACES)
def test_a_small_thing_is_found_where_it_lies_and_covers_little(place, drawings):
    small, whole = (
        as_images(draw(drawings, "sticker", Scene((TAUGHT[0],), where, is_small), not is_small))
        for where, is_small in ((place, True), ("", False))
    )
    assert prompts.find_place(prompts.find_cover(small)[0]) == place
    assert prompts.find_cover(small).sum() < prompts.find_cover(whole).sum() / 2


@pytest.mark.parametrize("name", ["", *BACKGROUNDS])
def test_a_background_is_named_by_its_border(name, drawings):
    images = as_images(draw(drawings, "cartoon", Scene((TAUGHT[1],), background=name)))
    assert prompts.name_background(prompts.find_background(images)[0]) == name
    noisy = images + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert prompts.name_background(prompts.find_background(noisy)[0]) == name


class Obedient:
    """Draws what a prompt asks for, from the true drawings."""

    def __init__(self, drawings, deaf: bool = False) -> None:
        self.drawings, self.deaf = drawings, deaf

    def __call__(self, _model, asked, _guidance=None) -> Tensor:
        return as_images(*map(self.draw, asked))

    def draw(self, prompt: str) -> np.ndarray:
        style = next((style for style in SETS if style in prompt), "sticker")
        words = prompt.replace(style, "").replace("background", "").strip(" ,")
        names = sorted((name for name in TAUGHT if name in words), key=words.index)
        if self.deaf:
            return draw(self.drawings, "sticker", Scene((TAUGHT[0],)), True)
        relation = next((relation for relation in RELATIONS if f" {relation} " in words), "")
        place = max((place for place in PLACES if place in words), key=len)
        colour = next((name for name in sorted(BACKGROUNDS, key=len, reverse=True) if words.endswith(f", {name}")), "")
        scene = Scene(tuple(names), relation or place, "small" in words, colour)
        return draw(self.drawings, style, scene, len(names) == 1 and not scene.small and not colour)


@pytest.mark.slow
@pytest.mark.thorough
def test_the_figures_of_one_that_follows_and_of_one_that_does_not(drawings, monkeypatch):
    torch.manual_seed(0)
    looking = Perception(make_network(), torch.device("cpu"))
    monkeypatch.setattr(prompts, "draw_all", Obedient(drawings))
    good = prompts.measure_prompts(None, looking, drawings)
    monkeypatch.setattr(prompts, "draw_all", Obedient(drawings, deaf=True))
    bad = prompts.measure_prompts(None, looking, drawings)
    followed = ("placed", "small", "background", "top-1, style first", "style followed, style first")
    assert {name: good[name] for name in followed} == dict.fromkeys(followed, 1.0)
    assert bad["small"] == bad["background"] == 0 and bad["placed"] < 0.2 and bad["pair"] <= 0.5 < 0.8 <= good["pair"]
    assert bad["style followed, style first"] < 1
