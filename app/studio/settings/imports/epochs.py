"""Epochs as steps: how often a program shows the pictures of a draft in one epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from app.studio.dataset.drafts import Draft
from app.units import counted
from trainers.data.repeats import FOLDER
from trainers.messages import Message as _
from trainers.planning.findings import Finding

REPEATED = _("{epochs:g} × {steps} steps: an epoch is {images} images ({pictures} with repeats), at {batch} a step.")
EACH_ONCE = _("{epochs:g} × {steps} steps: an epoch is {pictures}, each once, at {batch} a step.")
NO_PICTURES = _("Epochs need pictures. Add them in step 1 and choose the file again.")
NO_REPEATS = _("Epochs need repeats.")
IN_STEPS = _("{epochs:g} epochs → {steps} steps")
SPREAD = _("Epochs need repeats. Here a run has previews at six steps and ten checkpoints.")
"""What is said of when previews and checkpoints are made."""
DIFFERENT_REPEATS = _("Epochs need repeats, and the concepts have different ones.")


@dataclass(frozen=True)
class Pictures:
    """A draft's pictures, as they are counted."""

    count: int = 0
    repeated: int = 0
    """Images of an epoch by the numbers of the pictures' folders; 0 if a picture has no such folder."""


@dataclass(frozen=True)
class Epoch:
    """One epoch; `images` are 0 where it is not known."""

    pictures: int
    images: int
    batch: int
    """Images of an optimizer step."""
    unknown: str = ""
    """Why it is not known."""

    @property
    def steps(self) -> int:
        """Optimizer steps; 0 where it is not known."""
        return _steps(self.images, self.batch)

    def how(self, epochs: float) -> str:
        """How the steps of some epochs were computed."""
        pictures, batch = counted(self.pictures, "picture"), self.batch
        if self.images == self.pictures:
            return EACH_ONCE.format(epochs=epochs, steps=self.steps, pictures=pictures, batch=batch)
        return REPEATED.format(epochs=epochs, steps=self.steps, images=self.images, pictures=pictures, batch=batch)

    def why_not(self) -> str:
        """Why epochs cannot be computed."""
        if not self.pictures:
            return NO_PICTURES
        return self.unknown or NO_REPEATS

    def repair(self, epochs: float) -> Finding:
        """Some epochs as the steps in which each picture is shown once."""
        steps = max(1, round(epochs * _steps(self.pictures, self.batch)))
        in_words = IN_STEPS.format(epochs=epochs, steps=steps)
        return Finding("train.steps", self.why_not(), {"train.steps": steps}, in_words, stops=False)


def each_once(pictures: Pictures) -> Pictures:
    """The same pictures without repeats."""
    return Pictures(pictures.count, pictures.count)


def count_pictures(draft: Draft) -> Pictures:
    """The pictures of a draft, with the repeats in the names of their folders."""
    return count_names(picture.name for picture in draft.pictures)


def count_names(names: Iterable[str]) -> Pictures:
    """Pictures by their names with folders, `10_dusk/fox.png`."""
    repeats = [_repeats(name) for name in names]
    return Pictures(len(repeats), sum(repeats) if all(repeats) else 0)


def _repeats(name: str) -> int:
    folders = reversed(PurePosixPath(name.replace("\\", "/")).parts[:-1])
    return next((int(found[1]) for folder in folders if (found := FOLDER.fullmatch(folder))), 0)


def _steps(images: int, batch: int) -> int:
    return math.ceil(images / batch)
