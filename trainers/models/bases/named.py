"""Well-known fine-tunes, such as Illustrious and Pony, with settings of their own: `presets/bases/NAME.toml`.

These override a preset's, and concern the base alone: its quality words, the form of its captions, sampling. The table
`recommended` has settings of a training that others published, and names its source; a file without names has those of
a whole family.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from trainers.config.tables import read_toml
from trainers.models.prediction import Prediction


@dataclass(frozen=True)
class Recommendation:
    """Published settings of a training on a base, and who published them."""

    title: str
    """The base."""
    source: str
    settings: Mapping[str, Any]
    """By section."""


@dataclass(frozen=True)
class NamedBase:
    """A well-known fine-tune."""

    name: str
    """Stem of its file in `presets/bases`."""
    title: str
    family: str
    prediction: Prediction | None
    """None if there are versions of both types."""
    zero_terminal_snr: bool
    """Whether it was trained down to pure noise, whatever its files state."""
    patterns: tuple[re.Pattern[str], ...]
    """Patterns for titles and file names."""
    settings: Mapping[str, Any]
    recommended: Recommendation | None = None

    def is_called(self, text: str) -> bool:
        """Whether a title or file name matches."""
        return any(pattern.search(text) for pattern in self.patterns)


@cache
def list_named_bases() -> tuple[NamedBase, ...]:
    """All named bases by precedence: a file that names both NoobAI and Illustrious is a NoobAI."""
    bases = [_read(path) for path in sorted((Path(str(files("presets"))) / "bases").glob("*.toml"))]
    order = ("noobai-v", "noobai", "animagine", "pony", "illustrious")
    return tuple(sorted(bases, key=lambda base: order.index(base.name) if base.name in order else len(order)))


def _read(path: Path) -> NamedBase:
    table = read_toml(path)
    title, published = str(table.pop("title")), table.pop("recommended", None)
    return NamedBase(
        path.stem,
        title,
        str(table.pop("family")),
        table.pop("prediction", None),
        bool(table.pop("zero_terminal_snr", False)),
        tuple(re.compile(pattern, re.IGNORECASE) for pattern in table.pop("names")),
        table,
        None if published is None else Recommendation(title, published.pop("source"), published),
    )
