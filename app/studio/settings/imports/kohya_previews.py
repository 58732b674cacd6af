"""Reads preview prompts of kohya_ss, one a line with options: `a fox --n blurry --d 1 --l 7 --s 28`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from app.studio.settings.imports.reading import Reading
from app.studio.settings.imports.values import UNREADABLE, NotHereError, above, whole
from trainers.messages import Message as _

OPTION = re.compile(r"\s--([a-z]+)\s+")
FILES = (".txt", ".json", ".toml")
DIFFERENT = _("Left out of its options, which differ between the lines or have no counterpart: {options}.")


def _seeds(value: str) -> list[int]:
    return [whole(value)]


def _not_here(_value: Any) -> Any:
    raise NotHereError


OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "n": ("sample.negative", str),
    "d": ("sample.seeds", _seeds),
    "l": ("sample.guidance", above),
    "s": ("sample.steps", whole),
    "ss": ("sample.sampler", _not_here),
}
"""Settings of a line's options, for all lines; `w` and `h` are one side here."""


def read_previews(reading: Reading) -> None:
    """Take the prompts; scripts have the path of a file instead of the lines."""
    written = reading.foreign.get("sample_prompts")
    if not isinstance(written, str) or written.strip().lower().endswith(FILES):
        return
    lines = [line.strip() for line in written.splitlines() if line.strip() and not line.strip().startswith("#")]
    split = [OPTION.split(line) for line in lines]
    prompts = [prompt for prompt, *_rest in split if prompt]
    if not prompts:
        return
    options = [dict(zip(rest[::2], map(str.strip, rest[1::2]), strict=False)) for _prompt, *rest in split]
    left = [name for name in dict.fromkeys(name for each in options for name in each) if name not in "wh"]
    for name in left.copy():
        values = {each.get(name) for each in options}
        if len(values) == 1 and _took(reading, name, values.pop() or ""):
            left.remove(name)
    if not _took_side(reading, options):
        left.append("w")
    how = DIFFERENT.format(options=", ".join(f"--{name}" for name in left)) if left else ""
    reading.take("sample_prompts", "sample.prompts", prompts, how=how)


def _took(reading: Reading, name: str, value: str) -> bool:
    """Take an option of all lines; returns whether it was taken."""
    if name not in OPTIONS:
        return False
    key, read = OPTIONS[name]
    try:
        taken = read(value)
    except UNREADABLE:
        return False
    reading.take(f"sample_prompts --{name}", key, taken, was=value)
    return True


def _took_side(reading: Reading, options: list[dict[str, str]]) -> bool:
    """Take the sides of all previews, which are squares here; returns whether they were taken or missing."""
    sides = {each.get(name) for each in options for name in ("w", "h")}
    if sides == {None}:
        return True
    try:
        side = whole(sides.pop()) if len(sides) == 1 else 0
    except UNREADABLE:
        return False
    if side:
        reading.take("sample_prompts --w", "sample.size", side, was=side)
    return bool(side)
