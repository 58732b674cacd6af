"""The options of a generation, from `app.studio.generation.options`."""

from __future__ import annotations

from collections.abc import Mapping

from app.studio.generation.options import OPTIONS, Kind, Option
from tools.markdown import table

KINDS: Mapping[Kind, str] = {
    "whole": "whole number",
    "number": "number",
    "numbers": "list of numbers",
    "text": "text",
    "switch": "true or false",
    "size": '`"512x768"`, or 512 for a square',
}


def generation_options() -> list[str]:
    """A table of the options that programs may set."""
    rows = [
        (f"`{option.name}`", _kind(option), _default(option), option.meaning)
        for option in OPTIONS.values()
        if option.api
    ]
    return table(("option", "value", "default", "meaning"), rows)


def _kind(option: Option) -> str:
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    return f"{KINDS[option.kind]}, {option.range}" if option.range else KINDS[option.kind]


def _default(option: Option) -> str:
    if option.kind == "switch":
        return str(option.default).lower()
    return option.write(option.default)
