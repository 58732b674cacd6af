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
from tools.starter.drawings.sets import Concepts, trained_sets
from tools.starter.measure import read_truth
from tools.starter.networks.perception import Perception, make_network

SETS = {icon_set.style: icon_set for icon_set in trained_sets()}
STAND_INS = dict(zip(HELD_OUT, (TAUGHT[0], TAUGHT[5]), strict=True))
"""What is drawn for concepts that are left out."""


def as_images(*pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def centred(drawing: np.ndarray, wanted: bool) -> np.ndarray:
    """The drawing, moved to the middle of its square if `wanted`: hand-made ones lie anywhere in it."""
    rows, columns = (np.flatnonzero(drawing[..., 3].any(axis)) for axis in (1, 0))
    moves = [(SIZE - line[0] - line[-1]) // 2 for line in (rows, columns)]
    return np.roll(drawing, moves, (0, 1)) if wanted else drawing


def draw(drawings, style: str, scene: Scene, whole: bool = False, look=lambda drawing: drawing, seed: int = 9):
    stored = open_drawings(drawings, SETS[style].name)
    places = stored.find(scene.things)
    pixels = [look(centred(stored.pixels[places[thing]], scene.small)) for thing in scene.things]
    return draw_scene(pixels, scene, whole, np.random.default_rng(seed))


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
        asked = sorted((name for name in (*TAUGHT, *HELD_OUT) if name in words), key=words.index)
        names = [STAND_INS.get(name, name) for name in asked]
        if self.deaf:
            return draw(self.drawings, "sticker", Scene((TAUGHT[0],)), True, print_in_ink)
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
    stand_ins = zip(trained_sets(), STAND_INS.values(), strict=False)  # in the sets by turns
    unknown = torch.cat([read_truth(drawings, icon_set, [name]).images for icon_set, name in stand_ins])
    monkeypatch.setattr(prompts, "read_unseen", lambda _: {prompts.LEFT_OUT: unknown})
    left_out = {"animals": HELD_OUT[:1], "food": HELD_OUT[1:]}
    few = Concepts({"animals": TAUGHT[:3], "food": TAUGHT[3:]}, left_out, {})
    monkeypatch.setattr(prompts, "read_concepts", lambda: few)
    monkeypatch.setattr(prompts, "NEAREST", 1)
    monkeypatch.setattr(prompts, "draw_all", Obedient(drawings))
    good = prompts.measure_prompts(None, looking, drawings)
    monkeypatch.setattr(prompts, "draw_all", Obedient(drawings, deaf=True))
    bad = prompts.measure_prompts(None, looking, drawings)
    followed = ("placed", "small", "background", "top-1, style first", "style followed, style first")
    assert {name: good[name] for name in followed} == dict.fromkeys(followed, 1.0)
    assert good["no ink without a style word"] == 1 and bad["no ink without a style word"] == 0
    unknown_ones = ("unknown, kind", "unknown, kind of the truth", "unknown, colour")
    assert [good[name] for name in unknown_ones] == [1, 1, 1]
    assert bad["unknown, kind"] < 1 == bad["unknown, kind of the truth"] > bad["unknown, colour"]
    assert bad["small"] == bad["background"] == 0 and bad["placed"] < 0.2 and bad["pair"] <= 0.5 < 0.8 <= good["pair"]
    assert bad["style followed, style first"] < 1
