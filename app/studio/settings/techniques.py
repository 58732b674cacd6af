"""The techniques that go with a method: with which one, whether they are on, and what comes with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.studio.base_models import Base
from trainers.adapters.methods import METHODS
from trainers.config.config import Train
from trainers.config.presets import find_preset
from trainers.config.techniques import BESIDE_METHODS, TEXTUAL_INVERSION, Technique
from trainers.models.family import family_named

BY_NAME: Mapping[str, Technique] = {one.name: one for one in BESIDE_METHODS}
WORD = BY_NAME[TEXTUAL_INVERSION]
ONLY_ON = {"b-lora": "sdxl"}
"""Techniques made for the blocks of one family; on the starter, whatever there is can be tried."""
PACE = ("steps", "batch_size")
"""Settings that only the care decides about."""
RATES = ("learning_rate", "text_encoder_learning_rate")
"""Settings that the method decides about, unless the technique was made for it."""


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


def what_comes_with(technique: Technique, method: str, base: str) -> dict[str, Any]:
    """What its preset sets besides turning it on, as a table, for a draft with this method or with none.

    Beside the method for which it was made, a technique of layers also brings what its preset sets otherwise than the
    method's own, such as another learning rate; a word alone brings its whole preset.
    """
    settings = find_preset(technique.name).settings_for(base)
    section, name = technique.key.split(".")
    made_for = str(settings.get("method", {}).get("name", ""))
    if made_for == method and (not method or section in ("method", "targets")):
        sections, left = {section, "method", "data", "train"}, {name, *PACE}
        below = find_preset(method).settings_for(base) if method else {}
    else:
        sections, left = {section, "train"}, {name, *RATES, *PACE}
        below = {"train": Train().model_dump()}  # what it leaves off, others may have on
    found = {
        each: {
            key: value
            for key, value in settings.get(each, {}).items()
            if key not in left and below.get(each, {}).get(key) != value
        }
        for each in sections - {"targets"}
    }
    return {each: table for each, table in found.items() if table}
