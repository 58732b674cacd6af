"""The icon sets: a set is a style, an icon's name is its caption."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class IconSet:
    """One set of drawings on the npm registry; those not `trained` are held out, as styles with a known truth."""

    name: str
    package: str
    version: str
    integrity: str  # "sha512-" and the base64 digest of the package file
    licence: str  # SPDX
    trained: bool
    style: str  # the words that ask for it


@dataclass(frozen=True)
class Concepts:
    """Concepts that are trained and concepts that are left out of every training set, by group."""

    groups: dict[str, tuple[str, ...]]
    left_out: dict[str, tuple[str, ...]]
    synonyms: dict[str, tuple[str, ...]]  # other words for a concept

    @property
    def taught(self) -> tuple[str, ...]:
        """All concepts that are trained, in the order of the file."""
        return tuple(concept for group in self.groups.values() for concept in group)

    @property
    def held_out(self) -> tuple[str, ...]:
        """All concepts that are left out, in the order of the file."""
        return tuple(concept for group in self.left_out.values() for concept in group)


def read_icon_sets() -> tuple[IconSet, ...]:
    """Read `sets.json`, trained sets first."""
    entries = json.loads((FOLDER / "sets.json").read_text(encoding="utf-8"))
    return tuple(IconSet(name, **entry) for name, entry in entries.items())


def trained_sets() -> tuple[IconSet, ...]:
    """The training sets."""
    return tuple(icon_set for icon_set in read_icon_sets() if icon_set.trained)


def held_out_sets() -> tuple[IconSet, ...]:
    """The held-out sets."""
    return tuple(icon_set for icon_set in read_icon_sets() if not icon_set.trained)


def read_concepts() -> Concepts:
    """Read `concepts.json`."""
    table = json.loads((FOLDER / "concepts.json").read_text(encoding="utf-8"))
    keys = ("concepts", "held_out", "synonyms")
    return Concepts(*({name: tuple(words) for name, words in table[key].items()} for key in keys))
