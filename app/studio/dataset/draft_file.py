"""The format of `draft.json`: versions and migrations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from trainers.errors import VelaturaError
from trainers.messages import Message

VERSION = 5
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
    """Version 1 said nothing of damage, and kept no mark of a start that was under way."""
    return {"notice": "", "started": None, **table}


def _to_3(table: Table) -> Table:
    """Version 2 did not say whose a draft is; the key by which it is next changed does."""
    return {"key": "", **table}


_KINDS = {"changed.": "changed", "written.": "written", "read from files.": "read", "cleared.": "cleared"}
"""How the sentence ended that version 3 kept of a change; that of a removal was any other."""


def _to_4(table: Table) -> Table:
    """Version 3 kept sentences: on each change, and on what was restored of a damaged file."""
    steps, pictures = table.get("undo"), table.get("pictures")
    if isinstance(steps, list):
        steps = [_with_kind(step) if isinstance(step, dict) else step for step in steps]
    restored = None
    if table.get("notice") and isinstance(pictures, list):
        without = sum(isinstance(one, dict) and not one.get("caption") for one in pictures)
        restored = {"pictures": len(pictures), "without_caption": without}
    kept = {name: value for name, value in table.items() if name != "notice"}
    return {"restored": restored, **kept, **({"undo": steps} if "undo" in table else {})}


def _to_5(table: Table) -> Table:
    """Version 4 knew no crops and masks; an older program would drop them."""
    return table


def _with_kind(step: Table) -> Table:
    said = str(step.get("said", ""))
    kind = next((kind for end, kind in _KINDS.items() if said.endswith(end)), "")
    kept = {name: value for name, value in step.items() if name != "said"}
    return {"kind": kind or ("removed" if step.get("removed") else "changed"), **kept}


MIGRATIONS: Mapping[int, Callable[[Table], Table]] = {1: _to_2, 2: _to_3, 3: _to_4, 4: _to_5}
"""By version, what makes the next one of it. A draft without a version is of the first."""


def read_table(content: bytes) -> Table:
    """A draft's values in the newest form. Raises ValueError if it is damaged, NewerDraftError if it is newer."""
    table = json.loads(content)
    if not isinstance(table, dict):
        raise ValueError("it is not a table")
    return migrate(table)


def version_of(content: bytes) -> int:
    """The version that a file says it has, 0 if it says nothing that can be read."""
    try:
        return int(json.loads(content).get(VERSION_KEY, 1))
    except (AttributeError, TypeError, ValueError):
        return 0


def migrate(table: Table) -> Table:
    """The same values in the newest form; the draft that was kept aside as well."""
    version = table.get(VERSION_KEY, 1)
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"{version!r:.40} is not a version")
    if version > VERSION:
        raise NewerDraftError(version)
    for older in range(version, VERSION):
        table = MIGRATIONS[older](table)
    aside = table.get("aside")
    return {**table, VERSION_KEY: VERSION, "aside": migrate(aside) if isinstance(aside, dict) else None}
