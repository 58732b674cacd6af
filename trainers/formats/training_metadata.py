"""Training information in a style file's untrusted metadata: settings, method, captions, base."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from trainers.adapters.methods import METHODS
from trainers.config.sections import Base, Data
from trainers.config.techniques import LAYERS, TECHNIQUES
from trainers.formats.read import Style

METHOD_VARIANTS = {*LAYERS, "block"}
"""Places of techniques that turn a method into another one by its settings."""
PICTURE_SETTINGS = ("model", "family", "prediction", "zero_terminal_snr", "clip_skip", "guidance")
"""Settings of the base that pictures depend on; the machine that draws decides on the storage of its weights."""


def settings_of(style: Style) -> Mapping[str, Any]:
    """The training's settings in one of our files, not validated; empty if it has none."""
    try:
        settings = json.loads(style.metadata.get("velatura.config", "{}"))
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def trained_as(style: Style) -> str:
    """The training method of one of our files, such as `adalora`, `pissa` or `lora+dora`; empty if unknown.

    The file's format does not identify it: many methods are written as plain LoRA.
    """
    if style.rows:
        return ""
    try:
        config = settings_of(style)
        method = config["method"]
        name = method["name"] if method["name"] in METHODS else ""
        variants = [t.name for t in TECHNIQUES if METHOD_VARIANTS & set(t.places) and t.is_on(config)]
        return "+".join((variants or [name]) + ["dora"] * (method.get("dora") is True)) if name else ""
    except (KeyError, TypeError, AttributeError):
        return ""


def captions_of(style: Style) -> tuple[str, ...]:
    """Training captions, or their tags, most frequent first."""
    try:
        folders = json.loads(style.metadata.get("ss_tag_frequency") or "{}")
        counts: Counter[str] = Counter()
        for tags in folders.values():
            counts.update({str(tag): int(count) for tag, count in tags.items()})
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return ()
    return tuple(tag for tag, _ in counts.most_common())


@dataclass(frozen=True)
class BaseSettings:
    """The base's settings and the number of caption chunks in training; defaults if unknown."""

    base: Base = field(default_factory=Base)
    chunks: int = 1


def base_settings_of(style: Style) -> BaseSettings:
    """Read the settings that pictures depend on from a style's untrusted metadata; invalid ones are ignored."""
    try:
        table = settings_of(style)
        data = Data.model_validate({"chunks": table["data"]["chunks"]})
        base = {name: table["base"][name] for name in PICTURE_SETTINGS if name in table["base"]}
        return BaseSettings(Base.model_validate(base), data.chunks)
    except (ValueError, KeyError, TypeError, RecursionError):
        written = style.metadata.get("ss_clip_skip", "")
    try:
        return BaseSettings(Base.model_validate({"clip_skip": written}))
    except ValidationError:
        return BaseSettings()
