"""How often the rest of a prompt is followed: place, size, background, two things, a style that comes first.

Each figure is a share of the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.starter.drawings.captions import describe
from tools.starter.drawings.render import SIZE, Drawings, open_drawings
from tools.starter.drawings.scenes import BACKGROUNDS, PLACES, RELATIONS, SMALL, Scene, draw_scene
from tools.starter.drawings.sets import trained_sets
from tools.starter.measure import Truths, draw_all
from tools.starter.networks.autoencoder import to_channels
from tools.starter.networks.perception import Perception
from trainers.models.model import Model

EACH = 40  # prompts per figure
MANY = 100  # prompts of a figure about styles
LEAST = 0.003  # of the picture: a thing that covers less is not there
DIFFERS = 0.25  # of 2: from there on, a pixel is not background
VIEWS = 4  # of a true scene, whose positions and sizes are random
BORDER = 3  # pixels
STRAY = 0.02  # of what is covered: so much may lie beside the thing


def measure_prompts(model: Model, perception: Perception, drawings: Path) -> dict[str, float]:
    """The share of prompts that are followed, by what they ask for besides a concept."""
    truth = Truths(perception, drawings, MANY)
    styles = [truth.sets[style].icon_set.style for style in truth.asked]
    few = list(zip(truth.concepts, styles, strict=True))[:EACH]
    first = truth.match(draw_all(model, truth.write_prompts(lambda concept, style: f"{style} {concept}")))
    return {
        **_measure_places(model, few),
        **_measure_backgrounds(model, few),
        **_measure_pairs(model, perception, drawings, truth.concepts[:EACH]),
        **{f"{name}, style first": share for name, share in first.items()},
    }


def _measure_places(model: Model, few: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Small things, by the place where they are, and by their size against the same ones without the word."""
    names = [name for name in PLACES if name]
    where = [names[index % len(names)] for index in range(len(few))]
    whole = draw_all(model, [describe(concept, style) for concept, style in few])
    small = draw_all(model, [describe(f"small {concept}", style) for concept, style in few])
    placed = draw_all(
        model, [describe(f"small {concept} {place}", style) for (concept, style), place in zip(few, where, strict=True)]
    )
    lies = [find_place(cover) == place for cover, place in zip(find_cover(placed), where, strict=True)]
    smaller, larger = (find_cover(images).float().mean((1, 2)) for images in (small, whole))
    return {"placed": mean(lies), "small": mean((smaller > LEAST) & (smaller < larger / 2))}


def _measure_backgrounds(model: Model, few: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Named backgrounds, by the colour of the border."""
    names = list(BACKGROUNDS)
    asked = [names[index % len(names)] for index in range(len(few))]
    prompts = [describe(concept, style, name) for (concept, style), name in zip(few, asked, strict=True)]
    drawn = [name_background(colour) for colour in find_background(draw_all(model, prompts))]
    return {"background": mean([name == wanted for name, wanted in zip(drawn, asked, strict=True)])}


def _measure_pairs(model: Model, perception: Perception, drawings: Path, concepts: Sequence[str]) -> dict[str, float]:
    """Two things, by the nearest of six true scenes: as asked, swapped, with another thing for either, each alone."""
    sets = trained_sets()
    stored = [open_drawings(drawings, icon_set.name) for icon_set in sets]
    prompts, scenes = [], []
    for index, first in enumerate(concepts):
        second, other = (concepts[(index + step) % len(concepts)] for step in (1, 2))
        style, where = index % len(sets), RELATIONS[index // len(sets) % len(RELATIONS)]
        prompts.append(describe(f"{first} {where} {second}", sets[style].style))
        for things in ((first, second), (second, first), (first, other), (other, second), (first,), (second,)):
            scene = Scene(things, where if len(things) == 2 else "")
            scenes += [_draw(stored[style], scene, view) for view in range(VIEWS)]
    truth = perception.embed(torch.stack(scenes)).unflatten(0, (len(concepts), -1, VIEWS))
    nearness = torch.einsum("nd,nsvd->nsv", perception.embed(draw_all(model, prompts)), truth).amax(2)
    return {"pair": mean(nearness.argmax(1) == 0)}


def _draw(stored: Drawings, scene: Scene, seed: int) -> Tensor:
    places = stored.find(scene.things)
    pixels = [stored.pixels[places[thing]] for thing in scene.things]
    picture = draw_scene(pixels, scene, len(pixels) == 1, np.random.default_rng(seed))
    return to_channels(picture[None])[0] * 2 - 1


def mean(hits: Sequence[bool] | Tensor) -> float:
    """The share of hits."""
    return round(float(torch.as_tensor(hits).float().mean()), 3)


def find_background(images: Tensor) -> Tensor:
    """The median colour of the border, `(B, 3, H, W)` to `(B, 3)`."""
    edges = (images[..., :BORDER, :], images[..., -BORDER:, :], images[..., :BORDER], images[..., -BORDER:])
    return torch.cat([edge.flatten(2) for edge in edges], 2).median(2).values


def find_cover(images: Tensor) -> Tensor:
    """Which pixels are not background, `(B, 3, H, W)` to `(B, H, W)`."""
    return (images - find_background(images)[..., None, None]).abs().amax(1) > DIFFERS


def find_place(cover: Tensor) -> str:
    """The name of the place, one of PLACES, that is nearest to the middle of what is covered, `(H, W)`.

    "nowhere" if hardly anything is.
    """
    if cover.float().mean() < LEAST:
        return "nowhere"
    columns, rows = (cover.float().sum(axis) for axis in (0, 1))
    middle = (find_middle(columns), find_middle(rows))
    size = (SMALL[0] + SMALL[1]) / 2 / SIZE

    def distance(name: str) -> float:
        return sum((share * (1 - size) + size / 2 - at) ** 2 for share, at in zip(PLACES[name], middle, strict=True))

    return min(PLACES, key=distance)


def find_middle(line: Tensor) -> float:
    """The middle between the ends of what a line `(n,)` holds, but for `STRAY` at each end, from 0 to 1."""
    share = line.cumsum(0) / line.sum().clamp(min=1)
    first, last = (int((share < end).sum()) for end in (STRAY, 1 - STRAY))
    return (first + last + 1) / 2 / len(line)


def name_background(colour: Tensor) -> str:
    """The nearest of BACKGROUNDS to a colour `(3,)`, or "" if white is nearer."""
    named = {name: torch.tensor(rgb) / 127.5 - 1 for name, rgb in BACKGROUNDS.items()} | {"": torch.ones(3)}
    return min(named, key=lambda name: float((named[name] - colour).square().sum()))
