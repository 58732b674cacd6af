"""The scores of a run's pictures: how near their style came to the training pictures', and how much they changed.

Both are measured by the base without a style, on pictures that the run draws anyway (`activations.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainers.data.dataset import CENTRE, Draw, Item, pixels
from trainers.models.model import Model
from trainers.score.activations import Activations, change, changes, observe, style_distance, variety
from trainers.score.score import Score

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_TRAINED = 24
"""Training pictures that are looked at, evenly chosen."""


@dataclass(frozen=True)
class Copy:
    """A drawn picture, by its number, that is nearer to a training picture than two training pictures are."""

    number: int
    name: str


class PictureScores:
    """Scores pictures against a run's training pictures and its pictures from before training.

    The networks must be without a style while pictures are looked at.
    """

    def __init__(self, model: Model, items: Sequence[Item], before: Sequence[Image], prompts: Sequence[str]) -> None:
        """`prompts` are those of the pictures from before training, and of all others in their order."""
        chosen = some_of(items)
        seen = [observe(model, trained_pixels(item)) for item in chosen]
        self.trained = torch.cat([each.style for each in seen])
        self.prompts = prompts
        self.before = observe(model, as_pixels(before))
        size = self.before.content[:1].shape
        alike = [(item, each) for item, each in zip(chosen, seen, strict=True) if each.content.shape == size]
        self._names = [item.path.name for item, _ in alike]
        self._same_size = Activations.cat([each for _, each in alike]) if len(alike) > 1 else None
        if self._same_size is not None:
            self._nearest = changes(self._same_size, self._same_size).fill_diagonal_(torch.inf).min()

    def observe(self, model: Model, pictures: Sequence[Image]) -> Activations:
        """What the base sees in a step's pictures, in the order of those from before training."""
        return observe(model, as_pixels(pictures))

    def score(self, drawn: Activations, step: int, strength: float = 1.0) -> Score:
        """The scores of a step's pictures."""
        distance = style_distance(drawn.style, self.trained)
        varied = variety(drawn, self.prompts)
        error = gain_error(self.before.style, drawn.style, self.trained)
        return Score(step, distance, float(change(drawn, self.before).mean()), error, strength, varied)

    def find_copy(self, drawn: Activations) -> Copy | None:
        """The drawn picture that is most like a training picture, if two training pictures are never so alike."""
        if self._same_size is None:
            return None
        near = changes(drawn, self._same_size)
        number, place = divmod(int(near.argmin()), near.shape[1])
        return Copy(number, self._names[place]) if near.min() < self._nearest else None


def some_of(items: Sequence[Item]) -> Sequence[Item]:
    """The items whose pictures are looked at: at most `MOST_TRAINED`, evenly chosen."""
    return items[:: -(-len(items) // MOST_TRAINED)]


def trained_pixels(item: Item) -> Tensor:
    """An item's picture as it is looked at: as trained, cropped at its centre; `(1, 3, h, w)` in [−1, 1]."""
    return pixels(item, Draw(0, False, CENTRE, ""))[None]


def gain_error(before: Tensor, after: Tensor, trained: Tensor) -> float:
    """The standard error of the gain in style from pictures `(n, 2c)` to others of the same prompts and seeds.

    Jackknife over the pictures (Efron 1982): √((n − 1) / n · Σ (gᵢ − ḡ)²), where gᵢ is the gain without picture i.
    """
    count = len(before)
    kept = [torch.arange(count) != number for number in range(count)]
    gains = torch.tensor([style_distance(before[k], trained) - style_distance(after[k], trained) for k in kept])
    return float(((count - 1) / count * (gains - gains.mean()).square().sum()).sqrt())


def as_pixels(pictures: Sequence[Image]) -> Tensor:
    """Pictures of one size as `(n, 3, h, w)` in [−1, 1]."""
    array = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    return torch.from_numpy(array).permute(0, 3, 1, 2).float() / 127.5 - 1
