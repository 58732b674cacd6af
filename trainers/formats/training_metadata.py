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
from trainers.config.techniques import BESIDE_METHODS, LAYERS
from trainers.formats.read import Style

MADE_OF_A_METHOD = {*LAYERS, "block"}
"""Places of the techniques that make another method of the one whose setting they are."""


def settings_of(style: Style) -> Mapping[str, Any]:
    """The settings that a file of ours was trained with, unchecked; empty if it does not say."""
    try:
        settings = json.loads(style.metadata.get("velatura.config", "{}"))
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def trained_as(style: Style) -> str:
    """What a file of ours was trained with, such as `adalora`, `pissa` or `lora+dora`; empty if it does not say.

    A file bears the form that other tools read, so of many methods it is a plain LoRA.
    """
    if style.rows:
        return ""
    try:
        config = settings_of(style)
        method = config["method"]
        name = method["name"] if method["name"] in METHODS else ""
        variants = [one.name for one in BESIDE_METHODS if MADE_OF_A_METHOD & set(one.places) and one.is_on(config)]
        return "+".join((variants or [name]) + ["dora"] * (method.get("dora") is True)) if name else ""
    except (KeyError, TypeError, AttributeError):
        return ""


def captions_of(style: Style) -> tuple[str, ...]:
    """The captions that it was trained on, or their tags, the most frequent first."""
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
    """The base's settings and the number of caption chunks; the defaults where a file does not say."""

    base: Base = field(default_factory=Base)
    chunks: int = 1


def base_settings_of(style: Style) -> BaseSettings:
    """Read it off the file's metadata, which is text from a stranger: what is not valid there is passed over."""
    try:
        table = settings_of(style)
        data = Data.model_validate({"chunks": table["data"]["chunks"]})
        return BaseSettings(Base.model_validate(table["base"]).whole(), data.chunks)
    except (ValueError, KeyError, TypeError, RecursionError):
        written = style.metadata.get("ss_clip_skip", "")
    try:
        return BaseSettings(Base.model_validate({"clip_skip": written}))
    except ValidationError:
        return BaseSettings()
