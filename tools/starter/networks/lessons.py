"""The denoiser's training data: latents of scenes of every concept in every look, encoded once, and their content."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tools.icons import icon_name
from tools.starter.drawings.looks import Look, read_looks
from tools.starter.drawings.render import Drawings, open_drawings
from tools.starter.drawings.scenes import BACKGROUNDS, PLACES, RELATIONS, Scene, draw_scene
from tools.starter.drawings.sets import read_concepts, trained_sets
from tools.starter.networks.stage import autocast_on
from trainers.atomic_files import whole_file

SHARES = {"whole": 0.62, "loose": 0.08, "coloured": 0.07, "placed": 0.08, "pair": 0.11, "other": 0.04}
"""How often each kind of picture is shown; *other* ones show icons that every set has and no concept names."""
PLAIN = 0.7
"""Share of each kind that shows the sets unchanged; looks computed from them are more numerous."""
VIEWS = {"whole": 1, "loose": 2, "coloured": 2, "placed": 3, "pair": 5}
"""Pictures of each kind for every drawing, which is the first thing of its pairs."""
SIGNS = re.compile(r"button|arrow|symbol|sign|square|circle|diamond|mark|input-|japanese-|medal|face|hand|person|heart")
"""Names of icons that the concepts cover, or that nobody would ask for."""
ENCODED = 32  # pictures at once


@dataclass(frozen=True)
class Lesson:
    """One picture: its kind, its content, the style's words."""

    kind: str
    scene: Scene
    style: str


@dataclass(frozen=True)
class Lessons:
    """All lessons: latents `(lessons, c, 16, 16)` in fp16, which `scale` brings to unit variance."""

    entries: tuple[Lesson, ...]
    latents: Tensor
    scale: float

    @cached_property
    def weights(self) -> Tensor:
        """How often each lesson is picked, `(lessons,)`, by SHARES and PLAIN; the sum is 1 if every kind is there."""
        plain = plain_styles()
        groups = [(lesson.kind, lesson.style in plain) for lesson in self.entries]
        counts = Counter(groups)

        def weigh(kind: str, is_plain: bool) -> float:
            alone = (kind, not is_plain) not in counts
            share = 1.0 if alone else PLAIN if is_plain else 1 - PLAIN
            return SHARES[kind] * share / counts[kind, is_plain]

        each = {group: weigh(*group) for group in counts}
        return torch.tensor([each[group] for group in groups])


@torch.no_grad()
def prepare_lessons(folder: Path, drawings: Path, autoencoder: Any, device: torch.device) -> Lessons:
    """Draw and encode all lessons, once."""
    path, names = folder / "latents.pt", folder / "lessons.json"
    if not names.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shown: list[Lesson] = []
        latents: list[Tensor] = []
        drawn = draw_lessons(drawings)
        while batch := list(islice(drawn, ENCODED)):
            pixels = torch.from_numpy(np.stack([picture for _, picture in batch])).permute(0, 3, 1, 2).float()
            with autocast_on(device):
                posterior = autoencoder.encode((pixels / 127.5 - 1).to(device)).latent_dist
            latents.append(posterior.mode().half().cpu())
            shown += [lesson for lesson, _ in batch]
        with whole_file(path) as building:
            torch.save(torch.cat(latents), building)
        with whole_file(names) as building:  # last: it says that all is there
            building.write_text(json.dumps([astuple(lesson) for lesson in shown]), encoding="utf-8")
    stored = torch.load(path, weights_only=True)
    rows = json.loads(names.read_text(encoding="utf-8"))
    entries = tuple(Lesson(kind, Scene(tuple(things), *scene), style) for kind, (things, *scene), style in rows)
    return Lessons(entries, stored, 1 / float(stored.float().std()))


def draw_lessons(drawings: Path) -> Iterator[tuple[Lesson, np.ndarray]]:
    """Yield every picture, `(SIZE, SIZE, 3)` bytes, with its lesson, the same ones every time."""
    for number, look in enumerate(read_looks()):
        rng = np.random.default_rng(number)
        stored = open_drawings(drawings, look.drawings)
        yield from _draw_look(look, stored, stored.find(read_concepts().taught), rng)
        if look.is_plain:
            others = stored.find(other_names(drawings))
            for name, place in others.items():
                scene = Scene((name,))
                yield Lesson("other", scene, look.style), draw_scene([stored.pixels[place]], scene, True, rng)


def _draw_look(
    look: Look, stored: Drawings, places: dict[str, int], rng: np.random.Generator
) -> Iterator[tuple[Lesson, np.ndarray]]:
    names = tuple(places)
    for concept in names:
        for kind, count in VIEWS.items():
            for _ in range(count if kind == "whole" or look.scales else 0):
                scene = choose_scene(kind, concept, names, rng)
                pixels = [look.make(stored.pixels[places[thing]]) for thing in scene.things]
                yield Lesson(kind, scene, look.style), draw_scene(pixels, scene, kind == "whole", rng)


def plain_styles() -> frozenset[str]:
    """The styles of the training sets, without those of looks computed from them."""
    return frozenset(look.style for look in read_looks() if look.is_plain)


def other_names(drawings: Path) -> list[str]:
    """Icons that every training set has and no concept names, as words; none shares a word with a held-out concept."""
    concepts = read_concepts()
    shared = set.intersection(*({*open_drawings(drawings, icon_set.name).names} for icon_set in trained_sets()))
    known = {icon_name(name) for name in (*concepts.taught, *concepts.held_out)}
    unseen = {word for concept in concepts.held_out for word in icon_name(concept).split("-")}
    names = [name for name in sorted(shared - known) if not SIGNS.search(name) and not unseen & {*name.split("-")}]
    return [name.replace("-", " ") for name in names]


def choose_scene(kind: str, concept: str, others: tuple[str, ...], rng: np.random.Generator) -> Scene:
    """A scene of that kind with the concept in it, as the first of two."""
    if kind == "coloured":
        return Scene((concept,), background=str(rng.choice(list(BACKGROUNDS))))
    if kind == "placed":
        return Scene((concept,), str(rng.choice(list(PLACES))), small=True)
    if kind == "pair":
        return Scene((concept, str(rng.choice(others))), str(rng.choice(RELATIONS)))
    return Scene((concept,))
