"""The bundled presets: partial configs, one TOML file each."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.config.tables import overlay, read_toml
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from trainers.config.sections import Sample

STARTER = "starter"


@dataclass(frozen=True)
class Preset:
    """A named partial config; `summary` is a sentence on its use.

    `starter` holds those on the bundled base, whose small network needs other layers, steps and rates.
    """

    name: str
    summary: str
    settings: Mapping[str, Any]
    starter: Mapping[str, Any]

    @property
    def method(self) -> str:
        """The method of its layers; empty if it trains no layers."""
        return str(self.settings.get("method", {}).get("name", "lora"))

    def settings_for(self, base: str) -> dict[str, Any]:
        """The partial config for the value of `base.model`."""
        return deepcopy(dict(self.starter if base == STARTER else self.settings))


def list_presets() -> tuple[Preset, ...]:
    """All presets, sorted by name; each is named after a purpose or a method."""
    return tuple(find_preset(name) for name in sorted(path.stem for path in _folder().glob("*.toml")))


def sample_for(base: str, of_base: Mapping[str, Any] | None = None) -> Sample:
    """The default sampling settings for a base; `of_base` are settings of its own."""
    from trainers.config.sections import Sample

    return Sample.model_validate(overlay(find_preset("balanced").settings_for(base), of_base or {}).get("sample", {}))


@cache
def find_preset(name: str) -> Preset:
    """The preset with this name, cached; VelaturaError with all names if there is none."""
    known = sorted(path.stem for path in _folder().glob("*.toml"))
    if name not in known:
        raise VelaturaError(
            "there is no preset {name!r:.120}; available are {known}", name=name, known=", ".join(known)
        )
    table = read_toml(_folder() / f"{name}.toml")
    summary, starter = str(table.pop("summary")), table.pop(STARTER, {})
    return Preset(name, summary, table, overlay(overlay(_starter_settings(), table), starter))


@cache
def _starter_settings() -> Mapping[str, Any]:
    """The settings that all presets share on the bundled base."""
    return read_toml(_folder().parent / "starter.toml")


def _folder() -> Path:
    return Path(str(files("presets") / "methods"))
