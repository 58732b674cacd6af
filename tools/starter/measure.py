"""How well the starter decodes, draws the object asked for, and follows a style word, in figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

from tools.starter.drawings.captions import describe
from tools.starter.drawings.render import SIZE, open_drawings
from tools.starter.drawings.sets import IconSet, read_concepts, read_icon_sets, trained_sets
from tools.starter.networks.autoencoder import on_white, psnr, reconstruct
from tools.starter.networks.perception import Perception, compare
from trainers.config.sections import Base
from trainers.data.sample_sets import read_sets
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.randomness import generator
from trainers.sampling.sample import SamplingParams, draw

CONCEPTS = 200  # among which the nearest to a drawn one is looked up
GUIDANCE = 3.0
STEPS = 25
SEED = 1
TOGETHER = 16  # pictures at once


@dataclass(frozen=True)
class Truth:
    """The true drawings of one set, `(n, 3, SIZE, SIZE)` from −1 to 1, of these concepts."""

    icon_set: IconSet
    concepts: tuple[str, ...]
    images: Tensor


def open_base(folder: Path) -> Model:
    """The base in `folder`, in fp32 on the CPU."""
    return load_model(Base(model=str(folder)), torch.float32, "cpu")


def read_truth(drawings: Path, icon_set: IconSet, concepts: Sequence[str]) -> Truth:
    """A set's drawings of those concepts that it has, in their order."""
    stored = open_drawings(drawings, icon_set.name)
    places = stored.find(concepts)
    return Truth(icon_set, tuple(places), on_white(stored.pixels[list(places.values())]))


def pick_concepts(drawings: Path, count: int = CONCEPTS) -> tuple[str, ...]:
    """Taught concepts that every set has, held-out styles too, by a fixed seed."""
    taught = read_concepts().taught
    places = [open_drawings(drawings, icon_set.name).find(taught) for icon_set in read_icon_sets()]
    shared = [concept for concept in taught if all(concept in drawn for drawn in places)]
    order = torch.randperm(len(shared), generator=generator(0, "which concepts are measured"))
    return tuple(shared[index] for index in order[:count].tolist())


def as_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures as `(n, 3, h, w)` from −1 to 1."""
    array = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    return torch.from_numpy(array).permute(0, 3, 1, 2).float() / 127.5 - 1


def draw_all(model: Model, prompts: Sequence[str], guidance: float = GUIDANCE) -> Tensor:
    """One picture per prompt, `(n, 3, SIZE, SIZE)` from −1 to 1."""
    return as_tensor(list(draw(model, sampling_of(prompts, guidance))))


def sampling_of(prompts: Sequence[str], guidance: float = GUIDANCE) -> SamplingParams:
    """How one picture per prompt is drawn."""
    return SamplingParams(tuple(prompts), (SEED,), steps=STEPS, guidance=guidance, size=(SIZE, SIZE), batch=TOGETHER)


@torch.no_grad()
def measure_reconstruction(model: Model, drawings: Path) -> dict[str, float]:
    """Mean PSNR in dB through the autoencoder, for each set and for the bundled photographs."""
    concepts = read_concepts()
    sets = {
        icon_set.name: read_truth(drawings, icon_set, concepts.taught[::4] if icon_set.trained else concepts.taught)
        for icon_set in read_icon_sets()
    }
    images = {name: truth.images for name, truth in sets.items()} | {"photographs": read_photographs()}
    return {name: round(float(psnr(reconstruct(model.vae, batch), batch).mean()), 2) for name, batch in images.items()}


def read_photographs() -> Tensor:
    """The bundled photographs at the starter's size, `(12, 3, SIZE, SIZE)` from −1 to 1."""
    paths = sorted(read_sets()["photograph"].folder.glob("*.jpg"))
    return as_tensor([Image.open(path).convert("RGB").resize((SIZE, SIZE), Resampling.LANCZOS) for path in paths])


def rank_of_truth(drawn: Tensor, truth: Tensor, rows: Sequence[int]) -> Tensor:
    """For each drawn embedding, how many true ones are nearer than the true one in its row of `rows`: 0 is a hit."""
    nearness = drawn @ truth.T  # unit vectors
    return (nearness > nearness.gather(1, torch.tensor(rows)[:, None])).sum(1)


def shares(ranks: Tensor) -> dict[str, float]:
    """How often the true one is the nearest, and among the nearest five."""
    return {f"top-{count}": round(float((ranks < count).float().mean()), 3) for count in (1, 5)}


def measure_drawing(
    model: Model, perception: Perception, drawings: Path, count: int = CONCEPTS
) -> dict[str, dict[str, float]]:
    """How often a picture shows the requested concept in the requested style, with and without guidance."""
    truth = Truths(perception, drawings, count)
    ways = {"guided": GUIDANCE, "unguided": 1.0}
    return {way: truth.match(draw_all(model, truth.write_prompts(), ways[way])) for way in ways}


class Truths:
    """The true drawings of measured concepts in every training style; each is requested in one, the styles in turn."""

    def __init__(self, perception: Perception, drawings: Path, count: int = CONCEPTS) -> None:
        self.perception, self.concepts = perception, pick_concepts(drawings, count)
        self.sets = [read_truth(drawings, icon_set, self.concepts) for icon_set in trained_sets()]
        self.asked = [index % len(self.sets) for index in range(len(self.concepts))]

    @cached_property
    def embeddings(self) -> Tensor:
        """A vector for each true drawing, `(sets, concepts, d)`."""
        return torch.stack([self.perception.embed(truth.images) for truth in self.sets])

    @cached_property
    def grams(self) -> list[list[list[Tensor]]]:
        """The style of each true drawing, by set and concept."""
        return [[self.perception.style(image[None]) for image in truth.images] for truth in self.sets]

    def write_prompts(self, write: Callable[[str, str], str] = describe) -> list[str]:
        """A prompt for each concept, by default the plain caption."""
        styles = [self.sets[style].icon_set.style for style in self.asked]
        return [write(concept, style) for concept, style in zip(self.concepts, styles, strict=True)]

    def match(self, images: Tensor) -> dict[str, float]:
        """How often pictures `(concepts, 3, H, W)` show the requested concept in the requested style.

        *Style followed*: of the concept's drawings in all sets, that of the requested set is the nearest. *Style
        nearest*: the same by Gram matrices, which do not depend on the layout.
        """
        drawn = [self.perception.style(image[None]) for image in images]
        distances = torch.tensor(
            [[compare(style, grams[place]) for grams in self.grams] for place, style in enumerate(drawn)]
        )
        nearest = (distances.argmin(1) == torch.tensor(self.asked)).float().mean()
        figures = match(self.perception.embed(images), self.embeddings, self.asked)
        return figures | {"style nearest": round(float(nearest), 3)}


def match(drawn: Tensor, known: Tensor, asked: Sequence[int]) -> dict[str, float]:
    """How often drawn concepts are found among the true ones of their style, and their style among the sets.

    `drawn` has a vector for each concept, `(concepts, d)`, `known` one for each true drawing, `(sets, concepts, d)`;
    `asked` is the set in whose style each concept was requested.
    """
    ranks = torch.cat([rank_of_truth(drawn[i : i + 1], known[style], [i]) for i, style in enumerate(asked)])
    nearness = torch.einsum("nd,snd->ns", drawn, known)  # to the concept's own drawing in each set
    followed = (nearness.argmax(1) == torch.tensor(asked)).float().mean()
    return shares(ranks) | {"style followed": round(float(followed), 3)}
