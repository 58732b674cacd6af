"""The format of `draft.json`: versions and migrations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from trainers.errors import VelaturaError
from trainers.messages import Message

VERSION = 6
VERSION_KEY = "schema_version"
Table = dict[str, Any]


class NewerDraftError(VelaturaError):
    """A draft that a newer Velatura has written."""

    def __init__(self, version: int) -> None:
        super().__init__(
            Message(
                "this draft was made by a newer Velatura (its format is version {version}, and this one reads up to "
                "{known}); nothing in it was changed; update Velatura to open it",
                version=version,
                known=VERSION,
            )
        )


def _to_2(table: Table) -> Table:
    """Version 1 had no notice of damage and no id of a pending start."""
    return {"notice": "", "started": None, **table}


def _to_3(table: Table) -> Table:
    """Version 2 had no key; the next change adds it."""
    return {"key": "", **table}


_KINDS = {"changed.": "changed", "written.": "written", "read from files.": "read", "cleared.": "cleared"}
"""Endings of version 3's sentences by kind of change; any other is a removal."""


def _to_4(table: Table) -> Table:
    """Version 3 stored sentences about each change and about a restored file."""
    steps, pictures = table.get("undo"), table.get("pictures")
    if isinstance(steps, list):
        steps = [_with_kind(step) if isinstance(step, dict) else step for step in steps]
    restored = None
    if table.get("notice") and isinstance(pictures, list):
        without = sum(isinstance(picture, dict) and not picture.get("caption") for picture in pictures)
        restored = {"pictures": len(pictures), "without_caption": without}
    kept = {name: value for name, value in table.items() if name != "notice"}
    return {"restored": restored, **kept, **({"undo": steps} if "undo" in table else {})}


def _to_5(table: Table) -> Table:
    """Version 4 had no crops and masks."""
    return table


def _to_6(table: Table) -> Table:
    """Version 5 had no rotations."""
    return table


def _with_kind(step: Table) -> Table:
    sentence = str(step.get("said", ""))
    kind = next((kind for end, kind in _KINDS.items() if sentence.endswith(end)), "")
    kept = {name: value for name, value in step.items() if name != "said"}
    return {"kind": kind or ("removed" if step.get("removed") else "changed"), **kept}


MIGRATIONS: Mapping[int, Callable[[Table], Table]] = {1: _to_2, 2: _to_3, 3: _to_4, 4: _to_5, 5: _to_6}
"""Migrations to the next version, by version. A draft without a version is of the first."""


def read_table(content: bytes) -> Table:
    """A draft's values in the current version. Raises ValueError if it is damaged, NewerDraftError if it is newer."""
    table = json.loads(content)
    if not isinstance(table, dict):
        raise ValueError("it is not a table")
    return migrate(table)


def version_of(content: bytes) -> int:
    """The version of a file; 0 if it is unreadable."""
    try:
        return int(json.loads(content).get(VERSION_KEY, 1))
    except (AttributeError, TypeError, ValueError):
        return 0


def migrate(table: Table) -> Table:
    """The values in the current version, including those of the draft set aside."""
    version = table.get(VERSION_KEY, 1)
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"{version!r:.40} is not a version")
    if version > VERSION:
        raise NewerDraftError(version)
    for older in range(version, VERSION):
        table = MIGRATIONS[older](table)
    aside = table.get("aside")
    return {**table, VERSION_KEY: VERSION, "aside": migrate(aside) if isinstance(aside, dict) else None}
