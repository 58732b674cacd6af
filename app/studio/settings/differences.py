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
    """The settings table of a run; empty if unreadable."""
    table = Run(run).table()
    return table if isinstance(table.get("method", {}), dict) else {}


def setting(table: Mapping[str, Any], section: str, name: str) -> Any:
    """A setting of an untrusted table; None if missing."""
    settings = table.get(section)
    return settings.get(name) if isinstance(settings, Mapping) else None


def find_differences(tables: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The settings that differ between tables, in the order of the folds.

    Settings that only some methods have are included if changed from the default.
    """
    methods = [_method(table) for table in tables]
    known = [values([table], method) for table, method in zip(tables, methods, strict=True)]
    keys = {field.key: field.fold for method in methods for field in list_fields(method)}
    differences = []
    for key in sorted((key for key in keys if key not in OWN), key=lambda key: FOLDS.index(keys[key])):
        fields = [find_field(key, method) for method in methods]
        known_values = [table.get(key) if field else ABSENT for field, table in zip(fields, known, strict=True)]
        shown = [_shown(field, value) for field, value in zip(fields, known_values, strict=True)]
        default = [_shown(field, field.default if field else ABSENT) for field in fields]
        if len(set(shown)) > 1 and (all(fields) or shown != default):
            differences.append(Difference(next(field for field in fields if field), tuple(known_values)))
    return differences


def _method(table: Mapping[str, Any]) -> str:
    name = str(setting(table, "method", "name"))
    return name if name in METHODS else "lora"


def _shown(field: Field | None, value: Any) -> str | None:
    """The displayed value; values that look equal count as equal."""
    if field is None:
        return None
    return base_name(str(value)) if field.key == "base.model" else field.show(value)
