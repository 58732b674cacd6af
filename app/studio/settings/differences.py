"""The settings in which runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.studio.base_models import base_name
from app.studio.settings.fields import FOLDS, Field, find_field, list_fields
from app.studio.settings.plan import values
from trainers.adapters.methods import METHODS
from trainers.runs.run import Run

ABSENT = object()
"""The value of a setting that a run's method does not have."""
OWN = ("schema_version", "name", "data.images")
"""Settings that are every run's own, whatever it learns."""


@dataclass(frozen=True)
class Difference:
    """A setting in which runs differ, and what each run has: a value, or ABSENT."""

    field: Field
    values: tuple[Any, ...]


def read_settings(run: Path) -> Mapping[str, Any]:
    """The settings table of a run; empty where it cannot be read, which a config never is."""
    table = Run(run).table()
    return table if isinstance(table.get("method", {}), dict) else {}


def setting(table: Mapping[str, Any], section: str, name: str) -> Any:
    """One setting of a table that may be anything; None where it is not there."""
    found = table.get(section)
    return found.get(name) if isinstance(found, Mapping) else None


def find_differences(tables: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The settings that are not the same in all of the tables, in the order of the folds.

    What only some of their methods have is among them where it was set to something of its own.
    """
    methods = [_method(table) for table in tables]
    known = [values([table], method) for table, method in zip(tables, methods, strict=True)]
    keys = {one.key: one.fold for method in methods for one in list_fields(method)}
    found = []
    for key in sorted((key for key in keys if key not in OWN), key=lambda key: FOLDS.index(keys[key])):
        fields = [find_field(key, method) for method in methods]
        known_values = [each.get(key) if one else ABSENT for one, each in zip(fields, known, strict=True)]
        shown = [_shown(one, value) for one, value in zip(fields, known_values, strict=True)]
        default = [_shown(one, one.default if one else ABSENT) for one in fields]
        if len(set(shown)) > 1 and (all(fields) or shown != default):
            found.append(Difference(next(one for one in fields if one), tuple(known_values)))
    return found


def _method(table: Mapping[str, Any]) -> str:
    name = str(setting(table, "method", "name"))
    return name if name in METHODS else "lora"


def _shown(one: Field | None, value: Any) -> str | None:
    """What is compared: as a value is shown, since what looks the same is no difference to people."""
    if one is None:
        return None
    return base_name(str(value)) if one.key == "base.model" else one.show(value)
