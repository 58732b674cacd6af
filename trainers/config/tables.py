"""Settings tables: read from TOML and `section.key=value`, and overlaid."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainers.errors import VelaturaError


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; VelaturaError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VelaturaError("there is no config file {path}", path=path) from None
    except IsADirectoryError:
        raise VelaturaError(
            "{path} is a folder; a config is a TOML file such as {example}", path=path, example=path / "config.toml"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise VelaturaError("{path} is not valid TOML: {error}", path=path, error=error) from None


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Overlay one settings table on another, key by key; a different method replaces the whole `[method]` section."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if key == "method" and isinstance(value, Mapping) and isinstance(old, Mapping):
            changed = value.get("name", old.get("name")) != old.get("name")
            result[key] = dict(value) if changed else {**old, **value}
        elif isinstance(value, Mapping) and isinstance(old, Mapping):
            result[key] = overlay(old, value)
        else:
            result[key] = value
    return result


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Parse `section.key=value` lines into a settings table; a value is TOML, and a bare word is text.

    A dotted key may quote a part that has dots of its own: `targets.blocks."mid_block.*".rank=4`.
    """
    table: dict[str, Any] = {}
    for line in assignments:
        key, separator, text = line.partition("=")
        if not separator or not key.strip():
            raise VelaturaError(
                "{line!r} is not a setting; write section.key=value, e.g. --set train.steps=500", line=line
            )
        key = key.strip()
        try:
            parsed = tomllib.loads(f"{key} = {text.strip()}")
        except tomllib.TOMLDecodeError:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            try:
                parsed = tomllib.loads(f'{key} = "{quoted}"')
            except tomllib.TOMLDecodeError:
                raise VelaturaError("{line!r} is not a setting; write section.key=value", line=line) from None
        table = overlay(table, parsed)
    return table


def lay_over(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Overlay settings tables, later ones on earlier ones, without validation; a method without a name is LoRA."""
    table: dict[str, Any] = {}
    for layer in layers:
        table = overlay(table, layer)
    method = table.get("method")
    if isinstance(method, Mapping) and "name" not in method:
        table = {**table, "method": {"name": "lora", **method}}
    return table


def anchor_paths(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings table with its relative paths resolved against `folder`."""
    anchored = dict(table)
    for name, key in (("data", "images"), ("prior", "folder"), ("train", "start_from")):
        section = table.get(name)
        path = section.get(key) if isinstance(section, Mapping) else None
        if isinstance(section, Mapping) and isinstance(path, str) and path:
            anchored[name] = {**section, key: str(folder / path)}
    return anchored
