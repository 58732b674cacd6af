"""Bases that people know by name, such as Illustrious and Pony, with settings of their own: `presets/bases/NAME.toml`.

Each is a fine-tune of a family. Its settings lie over a preset's, and hold only what belongs to the base: words that it
was trained to read as quality, how its captions are written, how pictures are drawn.
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
class NamedBase:
    """A fine-tune that people know by name."""

    name: str
    """Of its file in `presets/bases`."""
    title: str
    family: str
    prediction: Prediction | None
    """What its network predicts; None if there are versions with either."""
    zero_terminal_snr: bool
    """Whether it was trained down to pure noise, which its files may not say."""
    patterns: tuple[re.Pattern[str], ...]
    """What its files are called."""
    settings: Mapping[str, Any]

    def is_called(self, text: str) -> bool:
        """Whether a title or a file's name is that of such a base."""
        return any(pattern.search(text) for pattern in self.patterns)


@cache
def list_named_bases() -> tuple[NamedBase, ...]:
    """All of them; where a name fits several, the first counts: a NoobAI that names Illustrious, too, is a NoobAI."""
    found = [_read(path) for path in sorted((Path(str(files("presets"))) / "bases").glob("*.toml"))]
    order = ("noobai-v", "noobai", "animagine", "pony", "illustrious")
    return tuple(sorted(found, key=lambda each: order.index(each.name) if each.name in order else len(order)))


def _read(path: Path) -> NamedBase:
    table = read_toml(path)
    return NamedBase(
        path.stem,
        str(table.pop("title")),
        str(table.pop("family")),
        table.pop("prediction", None),
        bool(table.pop("zero_terminal_snr", False)),
        tuple(re.compile(pattern, re.IGNORECASE) for pattern in table.pop("names")),
        table,
    )
