"""Reads a settings file of ours or of another program."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from app.studio.settings.imports import kohya, onetrainer
from app.studio.settings.imports.report import Imported
from trainers.errors import VelaturaError

ENOUGH = 2
"""Signs that tell a program's file."""


def read_file(name: str, content: str) -> dict[str, Any]:
    """The table in a TOML or JSON file. VelaturaError, with the reason, if there is none."""
    try:
        if name.lower().endswith(".json") or content.lstrip().startswith("{"):
            table = json.loads(content, parse_constant=_refuse)
        else:
            table = tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise VelaturaError("it is neither TOML nor JSON: {error}", error=error) from None
    if not isinstance(table, dict):
        raise VelaturaError("it holds no settings")
    return table


def read_foreign(table: Mapping[str, Any]) -> Imported | None:
    """Another program's settings, with a report; None if it is no file of a program that is known here."""
    names = set(table) | {inner for value in table.values() if isinstance(value, dict) for inner in value}
    if len(names & onetrainer.SIGNS) >= ENOUGH:
        return onetrainer.read_onetrainer(table)
    if len(names & kohya.SIGNS) >= ENOUGH:
        return kohya.read_kohya(table)
    return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")
