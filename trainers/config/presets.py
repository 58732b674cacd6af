"""Presets: partial configs that ship with the package, one TOML file each."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from trainers.config.tables import overlay, read_toml
from trainers.errors import VelaturaError

STARTER = "starter"


@dataclass(frozen=True)
class Preset:
    """A named partial config: `summary` says in one sentence what it is good at.

    `starter` holds what differs on the bundled base, a small network that takes other steps.
    """

    name: str
    summary: str
    settings: Mapping[str, Any]
    starter: Mapping[str, Any]

    @property
    def method(self) -> str:
        """The method of the layers that it trains, if it trains any."""
        return str(self.settings.get("method", {}).get("name", "lora"))

    def settings_for(self, base: str) -> dict[str, Any]:
        """The partial config for a base as the config names it."""
        return deepcopy(overlay(self.settings, self.starter) if base == STARTER else dict(self.settings))


def list_presets() -> tuple[Preset, ...]:
    """All presets, those named for a purpose and those named after a method, by name."""
    return tuple(find_preset(name) for name in sorted(path.stem for path in _folder().glob("*.toml")))


def guidance_for(base: str) -> float:
    """The guidance with which pictures are drawn on a base unless somebody asks for another."""
    from trainers.config.sections import Sample

    settings = find_preset("balanced").settings_for(base).get("sample", {})
    return float(settings.get("guidance", Sample().guidance))


@cache
def find_preset(name: str) -> Preset:
    """The preset called `name`, read once; VelaturaError lists the names there are."""
    known = sorted(path.stem for path in _folder().glob("*.toml"))
    if name not in known:
        raise VelaturaError(f"there is no preset {name!r}; available are {', '.join(known)}")
    table = read_toml(_folder() / f"{name}.toml")
    summary, starter = str(table.pop("summary")), table.pop(STARTER, {})
    return Preset(name, summary, table, starter)


def _folder() -> Path:
    return Path(str(files("presets") / "methods"))
