"""The techniques that go with a method: with which one, and what turns them on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.studio.base_models import Base
from trainers.adapters.methods import METHODS
from trainers.config.presets import find_preset
from trainers.config.techniques import BESIDE_METHODS, TEXTUAL_INVERSION, Technique
from trainers.models.family import family_named

BY_NAME: Mapping[str, Technique] = {one.name: one for one in BESIDE_METHODS}
WORD = BY_NAME[TEXTUAL_INVERSION]
ONLY_ON = {"b-lora": "sdxl"}
"""Techniques made for the blocks of one family; on the starter, whatever there is can be tried."""


def fits(technique: Technique, method: str, base: Base) -> bool:
    """Whether a technique makes sense beside this method (none where a word is learned alone) on this base."""
    match technique.key.split("."):
        case "method", _:
            return method == find_preset(technique.name).method
        case "targets", _:
            family = ONLY_ON.get(technique.name)
            known = base.family and not base.is_starter
            sits = bool(method) and not set(technique.places).isdisjoint(METHODS[method].places)
            return sits and not (family and known and base.family != family_named(family).title)
    return True


def first_value(technique: Technique, base: str) -> Any:
    """What its setting is when it is turned on: as its preset has it on this base."""
    section, name = technique.key.split(".")
    return find_preset(technique.name).settings_for(base)[section][name]
