"""The files of other programs that a draft's settings come from, or could, so that their reports can be read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.studio.settings.imports.epochs import Pictures
from app.studio.settings.imports.read import check_size, read_foreign
from app.studio.settings.imports.reading import without_secrets
from app.studio.settings.imports.report import Imported
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError

FILE = "imported.json"
"""File in a draft's folder: the other program's table, the pictures with which it was read, and the base it has set."""
UNUSED = "unused.json"
"""File in a draft's folder: an `Unused`."""
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, VelaturaError)
"""Errors of reading a kept file; earlier versions kept files that are refused now."""


@dataclass(frozen=True)
class Unused:
    """Another program's file that was read, and is neither used nor discarded yet."""

    file: str
    table: dict[str, Any]
    of: str
    """The part of the page that has read it."""
    repairs: tuple[str, ...] = ()
    """The settings that are repaired in it."""


def keep_import(folder: Path, table: Mapping[str, Any], pictures: Pictures, found: Imported) -> None:
    """Keep what was read, without its secrets. OSError if it cannot be written."""
    base = found.table.get("base", {}).get("model")
    with whole_file(folder / FILE) as building:
        kept = {"table": without_secrets(table), "pictures": asdict(pictures), "bases": [base] if base else []}
        building.write_text(json.dumps(kept, default=str), encoding="utf-8")


def read_import(folder: Path) -> Imported | None:
    """What was read, as it was then; None if it is not there any more."""
    with suppress(*UNREADABLE):
        kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
        check_size(kept["table"])
        return read_foreign(kept["table"], Pictures(**kept["pictures"]), kept.get("bases", []))
    return None


def read_table(folder: Path) -> dict[str, Any]:
    """The other program's table, without its secrets; empty if it is not there any more."""
    with suppress(*UNREADABLE):
        return dict(json.loads((folder / FILE).read_text(encoding="utf-8"))["table"])
    return {}


def keep_unused(folder: Path, unused: Unused) -> None:
    """Keep a file until it is used or discarded, without its secrets. OSError if it cannot be written."""
    with whole_file(folder / UNUSED) as building:
        kept = asdict(unused) | {"table": without_secrets(unused.table)}
        building.write_text(json.dumps(kept, default=str), encoding="utf-8")


def read_unused(folder: Path) -> Unused | None:
    """The imported file that a person has not yet used or discarded; None without one."""
    with suppress(*UNREADABLE):
        kept = Unused(**json.loads((folder / UNUSED).read_text(encoding="utf-8")))
        check_size(kept.table)
        return kept if isinstance(kept.table, dict) else None
    return None
