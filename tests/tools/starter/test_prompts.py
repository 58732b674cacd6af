"""Whether a prompt is followed: what is seen in pictures, tried on true scenes, and the figures of a perfect model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tools.starter.small import HELD_OUT, TAUGHT
from tools.starter import prompts
from tools.starter.drawings.looks import print_in_ink
from tools.starter.drawings.render import SIZE, open_drawings
from tools.starter.drawings.scenes import BACKGROUNDS, PLACES, RELATIONS, Scene, draw_scene
from tools.starter.drawings.sets import read_concepts, read_icon_sets
from tools.starter.measure import read_truth
from tools.starter.networks.perception import Perception, make_network

SETS = {icon_set.style: icon_set for icon_set in read_icon_sets() if icon_set.trained}


def as_images(*pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def centred(drawing: np.ndarray, wanted: bool) -> np.ndarray:
    """The drawing, moved to the middle of its square if `wanted`: hand-made ones lie anywhere in it."""
    rows, columns = (np.flatnonzero(drawing[..., 3].any(axis)) for axis in (1, 0))
    moves = [(SIZE - line[0] - line[-1]) // 2 for line in (rows, columns)]
    return np.roll(drawing, moves, (0, 1)) if wanted else drawing


def draw(drawings, style: str, scene: Scene, whole: bool = False, look=lambda drawing: drawing) -> np.ndarray:
    stored = open_drawings(drawings, SETS[style].name)
    places = stored.find(scene.things)
    pixels = [look(centred(stored.pixels[places[thing]], scene.small)) for thing in scene.things]
    return draw_scene(pixels, scene, whole, np.random.default_rng(0))


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


def test_ink_has_no_colour_and_a_drawing_has(drawings):
    plain, ink = (
        as_images(*(draw(drawings, "sticker", Scene((name,)), True, look) for name in TAUGHT))
        for look in (lambda drawing: drawing, print_in_ink)
    )
    assert prompts.find_colourfulness(ink).max() < 0.05
    assert prompts.find_colourfulness(plain).max() > prompts.COLOURFUL
    red = torch.ones(1, 3, 8, 8)
    red[:, 1:, 2:6, 2:6] = -1  # two of three channels: pure red on white
    assert prompts.find_colourfulness(red).item() == 2
    assert prompts.find_colour(red).tolist() == [[1, -1, -1]]


def test_the_rank_by_colour_counts_nearer_true_ones():
    one = torch.ones(3, 3, 16, 16)
    for number, colour in enumerate(((1, -1, -1), (-1, 1, -1), (-1, -1, 1))):
        one[number, :, 4:12, 4:12] = torch.tensor(colour)[:, None, None].float()
    assert prompts.rank_by_colour(one, one).tolist() == [0, 0, 0]
    assert prompts.rank_by_colour(one[[1, 0, 2]], one).tolist() == [1, 1, 0]


class Obedient:
    """Draws what a prompt asks for, from the true drawings."""

    def __init__(self, drawings, deaf: bool = False) -> None:
        self.drawings, self.deaf = drawings, deaf

    def __call__(self, _model, asked, _guidance=None) -> Tensor:
        return as_images(*map(self.draw, asked))

    def draw(self, prompt: str) -> np.ndarray:
        style = next((style for style in SETS if style in prompt), "sticker")
        words = prompt.replace(style, "").replace("background", "").strip(" ,")
        names = [name for name in (*TAUGHT, *HELD_OUT) if name in words]
        names = sorted(names, key=words.index)
        if self.deaf or set(names) <= set(HELD_OUT):
            stored = {name for name in names if name in TAUGHT} or {TAUGHT[0]}
            return draw(self.drawings, "sticker", Scene((sorted(stored)[0],)), True, print_in_ink)
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
    unknown = read_truth(drawings, next(s for s in read_icon_sets() if not s.trained), HELD_OUT).images
    monkeypatch.setattr(prompts, "read_unseen", lambda _: {prompts.LEFT_OUT: unknown})
    concepts = read_concepts()
    few = type(concepts)(concepts.groups, {"animals": HELD_OUT}, concepts.synonyms)
    monkeypatch.setattr(prompts, "read_concepts", lambda: few)

    monkeypatch.setattr(prompts, "VIEWS", 1)
    monkeypatch.setattr(prompts, "draw_all", Obedient(drawings))
    good = prompts.measure_prompts(None, looking, drawings)
    monkeypatch.setattr(prompts, "draw_all", Obedient(drawings, deaf=True))
    bad = prompts.measure_prompts(None, looking, drawings)
    followed = ("placed", "small", "background", "pair", "top-1, style first", "style followed, style first")
    assert {name: good[name] for name in followed} == dict.fromkeys(followed, 1.0)
    assert good["no ink without a style word"] == 1 and bad["no ink without a style word"] == 0
    assert bad["placed"] == bad["small"] == bad["background"] == 0 and bad["pair"] <= 0.5
    assert bad["style followed, style first"] < 1
