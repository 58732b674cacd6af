"""Techniques that combine with a method, and the settings that turn them on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.studio.base_models import Base
from trainers.adapters.methods import METHODS
from trainers.config.presets import find_preset
from trainers.config.techniques import TECHNIQUES, TEXTUAL_INVERSION, Technique
from trainers.models.families import FAMILIES

BY_NAME: Mapping[str, Technique] = {technique.name: technique for technique in TECHNIQUES}
WORD = BY_NAME[TEXTUAL_INVERSION]


def fits(technique: Technique, method: str, base: Base) -> bool:
    """Whether a technique suits this method (none if only a word is trained) and this base."""
    match technique.key.split("."):
        case "method", _:
            return method == find_preset(technique.name).method
        case "targets", _:
            families = [family.title for family in FAMILIES if technique.value in family.own_presets]
            known = base.family and not base.is_starter  # the starter allows all
            sits = bool(method) and not set(technique.places).isdisjoint(METHODS[method].places)
            return sits and not (families and known and base.family not in families)
    return True


def first_value(technique: Technique, base: str) -> Any:
    """Initial value of its setting: that of its preset on this base."""
    section, name = technique.key.split(".")
    return find_preset(technique.name).settings_for(base)[section][name]
