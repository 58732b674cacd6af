"""What the bundled image sets are, where they come from, and which concepts they show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class SampleSet:
    """One set: a style to learn, the concepts its images show, and prompts that none of them shows."""

    name: str
    title: str
    package: str  # npm package holding the vector drawings
    version: str
    integrity: str  # "sha512-" and the base64 digest of the package file
    licence: str  # SPDX
    author: str
    source: str
    colours: int  # palette size of the stored images
    concepts: tuple[str, ...]
    demo_prompts: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The folder with one PNG and one caption file per concept, and the licence of the art."""
        return FOLDER / self.name


def read_sets() -> dict[str, SampleSet]:
    """Read `samples.json` into the sets by folder name."""
    entries = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))
    return {name: _parse(name, entry) for name, entry in entries.items()}


def _parse(name: str, entry: dict) -> SampleSet:
    lists = {key: tuple(entry[key]) for key in ("concepts", "demo_prompts")}
    return SampleSet(name=name, **{**entry, **lists})
