"""The bundled image sets: contents, sources and demo prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

FOLDER = Path(str(files("presets") / "samples"))


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
    origin: Mapping[str, Any]
    """The packages that `tools.samples` makes its images from."""

    @property
    def folder(self) -> Path:
        """The folder with one image and one caption file per concept, and the licence of the art."""
        return FOLDER / self.name


def read_sets() -> dict[str, SampleSet]:
    """Read `samples.json` into the sets by folder name."""
    entries = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))
    return {name: _parse(name, entry) for name, entry in entries.items()}


def _parse(name: str, entry: Mapping[str, Any]) -> SampleSet:
    words: dict[str, str] = {key: entry[key] for key in ("title", "licence", "author", "source")}
    concepts, prompts = tuple(entry["concepts"]), tuple(entry["demo_prompts"])
    return SampleSet(name, **words, concepts=concepts, demo_prompts=prompts, origin=entry)
