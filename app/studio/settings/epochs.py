"""Converts epochs to steps, with the repeats of a draft's or a folder's pictures."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from pydantic import ValidationError

from app.studio.dataset.drafts import Draft
from app.units import counted
from trainers.config.config import Config
from trainers.config.sections import Data, Train
from trainers.data.ingest import list_folder
from trainers.data.repeats import FOLDER, read_folder_name
from trainers.messages import Message as _
from trainers.planning.findings import Finding
from trainers.section import Section

AnySection = TypeVar("AnySection", bound=Section)
TYPED = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:e|epochs?|epochen?)", re.IGNORECASE)
"""A number of epochs as people type it."""
REPEATED = _("{epochs:g} × {steps} steps: an epoch is {images} images ({pictures} with repeats), at {batch} a step.")
EACH_ONCE = _("{epochs:g} × {steps} steps: an epoch is {pictures}, each once, at {batch} a step.")
NO_PICTURES = _("Epochs need pictures. Add them in step 1 and choose the file again.")
NO_REPEATS = _("Epochs need repeats.")
IN_STEPS = _("{epochs:g} epochs → {steps} steps")
SPREAD = _("Epochs need repeats. Here a run has previews at six steps and ten checkpoints.")
"""Sentence about previews and checkpoints without known epochs."""
DIFFERENT_REPEATS = _("Epochs need repeats, which differ between folders: the pictures need folders of those names.")


@dataclass(frozen=True)
class Share:
    """Repeats of a folder's pictures in an epoch."""

    folder: str
    """Its path on some computer."""
    repeats: float = 0
    samples: int = 0
    """Number of images instead of repeats."""

    def images(self, count: int) -> int:
        """Images of an epoch, for a number of pictures."""
        return self.samples or max(1, int(count * self.repeats))

    @property
    def name(self) -> str:
        return PureWindowsPath(self.folder).name


@dataclass(frozen=True)
class Pictures:
    """Counts of a draft's pictures."""

    count: int = 0
    repeated: int = 0
    """Images of an epoch by the numbers of the pictures' folders; 0 if a picture has no such folder."""
    folders: Mapping[str, int] = field(default_factory=dict)
    """Number of pictures by the name of their folder."""

    def name_here(self, folder: str) -> str:
        """The folder of the pictures that stands for another computer's, such as `5_fox` for `fox`; else its name."""
        if folder in self.folders:
            return folder
        words = read_folder_name(folder)[1] or folder
        same = [name for name in self.folders if (read_folder_name(name)[1] or name) == words]
        return same[0] if len(same) == 1 else folder

    def in_epoch(self, shares: Sequence[Share]) -> int:
        """Images of an epoch with a file's repeats of folders; 0 if unknown."""
        same = {(share.repeats, share.samples) for share in shares}
        if len(same) == 1 and self.count and (len(shares) == 1 or not shares[0].samples):
            return shares[0].images(self.count)
        named = {share.name: share for share in shares}
        if len(named) < len(shares) or not self.folders.keys() <= named.keys():
            return 0
        return sum(named[name].images(count) for name, count in self.folders.items())


@dataclass(frozen=True)
class Epoch:
    """An epoch; `images` is 0 if unknown."""

    pictures: int
    images: int
    batch: int
    """Images of an optimizer step."""
    unknown: str = ""
    """Why its length is unknown."""

    @property
    def steps(self) -> int:
        """Optimizer steps; 0 if unknown."""
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
        """The repair: steps that show each picture once per epoch."""
        steps = max(1, round(epochs * _steps(self.pictures, self.batch)))
        in_words = IN_STEPS.format(epochs=epochs, steps=steps)
        return Finding("train.steps", self.why_not(), {"train.steps": steps}, in_words, stops=False)


def each_once(pictures: Pictures) -> Pictures:
    """The same pictures without repeats."""
    return Pictures(pictures.count, pictures.count, pictures.folders)


def count_pictures(draft: Draft) -> Pictures:
    """The pictures of a draft, with the repeats in the names of their folders."""
    return count_names(picture.name for picture in draft.pictures)


def count_names(names: Iterable[str]) -> Pictures:
    """Pictures by their names with folders, `10_dusk/fox.png`."""
    names = [name.replace("\\", "/") for name in names]
    repeats = [_repeats(name) for name in names]
    folders = Counter(PurePosixPath(name).parent.name for name in names)
    return Pictures(len(names), sum(repeats) if all(repeats) else 0, dict(folders))


def epoch_of(draft: Draft, settings: Mapping[str, Any]) -> Epoch:
    """An epoch of a draft's pictures, with the values of its settings by key; invalid ones count as the defaults."""
    data = _valid(Data, settings, "data", "repeats", "resolution", "more_resolutions", "sets")
    train = _valid(Train, settings, "train", "batch_size", "accumulation")
    images = [(PurePosixPath(name).parent.name, _repeats(name) or 1) for name in (each.name for each in draft.pictures)]
    return _epoch(images, data, train)


def typed_epochs(text: str) -> float:
    """The number of epochs in a text such as `10 epochs`; 0 in others."""
    match = TYPED.fullmatch(text.strip())
    return float(match[1].replace(",", ".")) if match else 0.0


def with_epochs(config: Config, epochs: float) -> Config:
    """The config with the steps of some epochs of its folder's images."""
    data, train = config.data, config.train
    listing = list_folder(Path(data.images), data.sets)
    images = [(listing.folders.get(path, ""), listing.repeats.get(path, 1)) for path in listing.images]
    steps = max(1, round(epochs * _epoch(images, data, train).steps))
    return config.model_copy(update={"train": train.model_copy(update={"steps": steps})})


def _epoch(images: Sequence[tuple[str, int]], data: Data, train: Train) -> Epoch:
    """An epoch of images, each given by its folder and the repeats in that folder's name."""
    shown = sum(data.count_shown(folder, repeats) for folder, repeats in images)
    return Epoch(len(images), shown, train.batch_size * train.accumulation)


def _valid(kind: type[AnySection], settings: Mapping[str, Any], section: str, *names: str) -> AnySection:
    """A section of some settings; its defaults if one is invalid."""
    try:
        return kind.model_validate({name: settings[f"{section}.{name}"] for name in names})
    except ValidationError:
        return kind()


def _repeats(name: str) -> int:
    folders = reversed(PurePosixPath(name).parts[:-1])
    return next((int(match[1]) for folder in folders if (match := FOLDER.fullmatch(folder))), 0)


def _steps(images: int, batch: int) -> int:
    return math.ceil(images / batch)
