"""The record in a generation's folder: the request and, at the end, the result."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from app.jobs.small_jobs import EACH, PICTURE, PLAIN
from app.language import Sentence
from app.studio.generation.request import GenerateRequest, Resolved, read_request
from trainers.messages import recorded, to_record

OLDER_DEFAULTS = {"steps": 25, "sampler": "ddim"}
"""Defaults of requests before they were left to the base."""

MARKED = "strength"
"""Field of the strength to keep in the event with its sentence."""

OLDER_VALUES: Mapping[str, Any] = {"size": (512, 512), "steps": 25, "guidance": 7.0, "sampler": "ddim"}
"""Values of records that lack them."""


class Record(BaseModel):
    """The record in a generation's folder."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    request: GenerateRequest
    """The original request."""
    resolved: Resolved
    """The request with the defaults of its base and styles."""
    whose: str
    made: float
    """Time of the request, in Unix seconds."""
    base: str = ""
    """Title of the base."""
    number: int = 0
    """Number of its job."""
    state: str = ""
    """Its end; empty before."""
    error: str = ""
    """Error, if it ended without a picture."""
    error_message: Any = None
    """The error by `trainers.messages.to_record`; None in older records."""
    seconds: float = 0.0
    marked: float | None = None
    """The strength to keep of a comparison."""
    notes: tuple[tuple[str, Any], ...] = ()
    """Notes of its drawing, in English and by `trainers.messages.to_record`."""

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, values: Any) -> Any:
        """Read records with names, size, steps, guidance and sampler beside the request."""
        if not isinstance(values, dict) or "resolved" in values or "request" not in values:
            return values
        request = GenerateRequest.model_validate(values["request"])
        named = zip_longest(request.styles, values.get("names", ()))
        styles = (style.model_copy(update={"name": name or ""}) for style, name in named if style is not None)
        filled = {name: getattr(request, name) or values.get(name) or default for name, default in OLDER_VALUES.items()}
        filled["size"] = tuple(filled["size"])
        return values | {"request": request, "resolved": Resolved.of(request, styles=tuple(styles), **filled)}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the styles at the time."""
        return tuple(style.name for style in self.resolved.styles)

    @property
    def reason(self) -> str:
        """The error for display."""
        return recorded(self.error_message, self.error, Sentence) if self.error else ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes for display."""
        return tuple(recorded(record, english, Sentence) for english, record in self.notes)

    def ended(self, state: str, error: str, notes: Iterable[str] = ()) -> Record:
        """The record with its end and notes."""
        sentences = [Sentence.of(note) for note in dict.fromkeys(notes)]
        end = {"state": state, "error": error, "error_message": to_record(error)}
        return self.model_copy(update=end | {"notes": tuple((str(note), to_record(note)) for note in sentences)})


def read_older_record(content: bytes) -> Record:
    """The record in an older version's file; ValueError if it is damaged."""
    table = json.loads(content)
    if not (isinstance(table, dict) and isinstance(request := table.get("wish"), dict)):
        raise ValueError("its request is missing")
    try:
        styles = [{"style": style, "strength": strength} for style, strength in request.get("styles", ())]
    except TypeError as error:
        raise ValueError("its styles cannot be read") from error
    values: dict[str, Any] = {name: value for name, value in request.items() if name != "prompt"}
    prompts = (request.get("prompt", ""),)
    request, _ = read_request(OLDER_DEFAULTS | values | {"prompts": prompts, "styles": styles})
    return Record.model_validate(table | {"request": request, "error": table.get("line", "")})


def picture_names(request: GenerateRequest) -> tuple[str, ...]:
    """Names of a generation's picture files: with styles, then without."""
    series = math.prod(len(axis.values) for axis in request.axes)
    drawn = tuple(EACH.format(number) for number in range(1, series + 1)) if request.is_series else (PICTURE,)
    return (*drawn, *((PLAIN,) if request.compared else ()))
