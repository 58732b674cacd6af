"""The settings in which runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.studio.settings.fields import FOLDS, Field, find_field, list_fields
from app.studio.settings.plan import values
from trainers.adapters.methods import METHODS
from trainers.models.files.source import base_name
from trainers.runs.run import Run

ABSENT = object()
"""Marks a setting that a run's method does not have."""
OWN = ("schema_version", "name", "data.images")
"""Settings that always differ and are not compared."""


@dataclass(frozen=True)
class Difference:
    """A setting in which runs differ, with each run's value or ABSENT."""

    field: Field
    values: tuple[Any, ...]


def read_settings(run: Path) -> Mapping[str, Any]:
    """The settings table of a run; empty if it cannot be read."""
    table = Run(run).table()
    return table if isinstance(table.get("method", {}), dict) else {}


def setting(table: Mapping[str, Any], section: str, name: str) -> Any:
    """A setting of an untrusted table; None if missing."""
    found = table.get(section)
    return found.get(name) if isinstance(found, Mapping) else None


def find_differences(tables: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The settings that are not the same in all of the tables, in the order of the folds.

    Settings that only some methods have are included if changed from the default.
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
    """The displayed value, since equal display is no difference to people."""
    if one is None:
        return None
    return base_name(str(value)) if one.key == "base.model" else one.show(value)
