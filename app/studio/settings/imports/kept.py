"""Stores imported files of other programs with a draft, so that their reports can be read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.studio.settings.epochs import Pictures
from app.studio.settings.imports.read import check_size, read_foreign
from app.studio.settings.imports.reading import without_secrets
from app.studio.settings.imports.report import Imported
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError

FILE = "imported.json"
"""File in a draft's folder with the other program's table, the picture counts of the import, and its base."""
UNUSED = "unused.json"
"""File in a draft's folder: an `Unused`."""
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, VelaturaError)
"""Errors of reading a stored file; some files of earlier versions are invalid now."""


@dataclass(frozen=True)
class Unused:
    """Another program's file that is neither used nor discarded yet."""

    file: str
    table: dict[str, Any]
    of: str
    """The part of the page that read it."""
    repairs: tuple[str, ...] = ()
    """Repaired settings."""


def keep_import(folder: Path, table: Mapping[str, Any], pictures: Pictures, imported: Imported) -> None:
    """Store an imported file without its secrets. OSError if it cannot be written."""
    base = imported.table.get("base", {}).get("model")
    with whole_file(folder / FILE) as building:
        kept = {"table": without_secrets(table), "pictures": asdict(pictures), "bases": [base] if base else []}
        building.write_text(json.dumps(kept, default=str), encoding="utf-8")


def read_import(folder: Path) -> Imported | None:
    """The stored import; None without one."""
    with suppress(*UNREADABLE):
        kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
        check_size(kept["table"])
        return read_foreign(kept["table"], Pictures(**kept["pictures"]), kept.get("bases", []))
    return None


def read_table(folder: Path) -> dict[str, Any]:
    """The other program's table without its secrets; empty without one."""
    with suppress(*UNREADABLE):
        return dict(json.loads((folder / FILE).read_text(encoding="utf-8"))["table"])
    return {}


def keep_unused(folder: Path, unused: Unused) -> None:
    """Store a file without its secrets, until it is used or discarded. OSError if it cannot be written."""
    with whole_file(folder / UNUSED) as building:
        kept = asdict(unused) | {"table": without_secrets(unused.table)}
        building.write_text(json.dumps(kept, default=str), encoding="utf-8")


def read_unused(folder: Path) -> Unused | None:
    """The file that is neither used nor discarded yet; None without one."""
    with suppress(*UNREADABLE):
        kept = Unused(**json.loads((folder / UNUSED).read_text(encoding="utf-8")))
        check_size(kept.table)
        return kept if isinstance(kept.table, dict) else None
    return None
