"""How a style's captions and base were read in training, so that drawing with it reads them the same way."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import ValidationError

from trainers.config.config import Base, Data
from trainers.formats.read import Style
from trainers.formats.said import settings_of


@dataclass(frozen=True)
class Reading:
    """The base's settings and the number of caption chunks; the defaults where a file does not say."""

    base: Base = field(default_factory=Base)
    chunks: int = 1


def reading_of(style: Style) -> Reading:
    """Read it off the file's metadata, which is text from a stranger: what is not valid there is passed over."""
    try:
        table = settings_of(style)
        data = Data.model_validate({"chunks": table["data"]["chunks"]})
        return Reading(Base.model_validate(table["base"]).whole(), data.chunks)
    except (ValueError, KeyError, TypeError, RecursionError):
        written = style.metadata.get("ss_clip_skip", "")
    try:
        return Reading(Base.model_validate({"clip_skip": written}))
    except ValidationError:
        return Reading()
