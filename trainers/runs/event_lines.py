"""Reads and validates lines of `events.jsonl`, which are untrusted.

Invalid lines are skipped: run folders move between machines and versions, and are truncated by kills or edited by hand.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from trainers.regular_files import open_inside

Event = dict[str, Any]

FILE = "events.jsonl"
SAID = "said"
"""Field with the template and parameters of an event's message, from `trainers.messages.to_record`."""
LONGEST = 4 * 2**20
"""Maximum bytes of a line; the ranks of all layers of a large network take 100 kB."""
LARGEST = 2**53
"""Maximum count, exact in every JSON reader."""
LATEST = 2.0**36
"""Maximum time in Unix seconds, about two thousand years from now."""
MOST_LAYERS, LONGEST_NAME = 10_000, 300
"""Limits of the ranks in one event."""
_SURROGATE = re.compile(rb"\\[uU][dD][89a-fA-F]")


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def _real(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e100  # false of NaN, too


def _time(value: Any) -> bool:
    return _real(value) and 0 <= value <= LATEST


def _amount(value: Any) -> bool:
    return _real(value) and value >= 0


def _amount_or_none(value: Any) -> bool:
    return value is None or _amount(value)


def _measured(value: Any) -> bool:
    """A number; the Recorder writes NaN and infinities as text."""
    return _real(value) or value in ("nan", "inf", "-inf")


def _text(value: Any) -> bool:
    return type(value) is str


def _flag(value: Any) -> bool:
    return type(value) is bool


def _texts(value: Any) -> bool:
    return type(value) is list and all(map(_text, value))


def _ranks(value: Any) -> bool:
    """Counts by layer name."""
    is_short = type(value) is dict and 0 < len(value) <= MOST_LAYERS and max(map(len, value)) <= LONGEST_NAME
    return is_short and all(map(_count, value.values()))


def _scalar(value: Any) -> bool:
    return value is None or _flag(value) or _text(value) or _real(value)


def _fields(check: Callable[[Any], bool], names: str) -> dict[str, Callable[[Any], bool]]:
    return dict.fromkeys(names.split(), check)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    **_fields(_count, "step steps picture pictures number images count skipped done of memory free file bytes"),
    **_fields(_count, "parameters threads devices devices_before measured saved job snapshots text_encoders"),
    **_fields(_count, "nearest further"),
    **_fields(_amount, "speed seconds seconds_a_step seconds_a_picture kept share"),
    **_fields(_amount, "distance change error"),
    **_fields(_real, "lr strength"),
    **_fields(_measured, "loss grad_norm penalty"),
    **_fields(_text, "message cause name base family method device precision path style image caption"),
    **_fields(_text, "owner task wants cwd phase sampler base_sha256"),
    **_fields(_flag, "resumed prior at_most low_memory overflow"),
    "time": _time,
    **_fields(_texts, "prompts command"),
    "priority": lambda value: type(value) is int and abs(value) <= LARGEST,
    "ranks": _ranks,
    **_fields(_amount_or_none, "difference seconds_left"),
}
"""Field types, the same in every kind of event."""
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "step": ("step",),
    "skipped": ("step",),
    "checkpoint": ("step",),
    "damaged": ("step", "saved"),
    "rollback": ("step", "saved"),
    "drawing": ("picture", "pictures"),
    "denoising": ("done", "of"),
    "held_out": ("step", "loss"),
    "score": ("step", "distance", "change", "error"),
    "early_stop": ("step", "nearest", "further"),
    "phase": ("phase",),
    "problem": ("name", "message"),
    "solved": ("name",),
    "expected": ("seconds",),
    "attempt": ("number",),
    "ranks": ("step", "ranks"),
    "caption": ("image", "caption"),
    "estimate": ("seconds", "parameters"),
}
"""Required fields of a kind of event."""


def parse_event(line: bytes) -> Event | None:
    """The event in a line; None if it is not JSON, or a field is missing or has the wrong type.

    Unknown fields, as from a newer version, are dropped unless they are plain values. Records of messages are not
    checked.
    """
    try:
        event = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):  # not JSON, thousands of digits or brackets
        return None
    if type(event) is not dict or not _text(event.get("type")):
        return None
    if not all(name in event for name in _NEEDS.get(event["type"], ())):
        return None
    if not all(check(event[name]) for name, check in _TYPES.items() if name in event):
        return None
    known = {name: value for name, value in event.items() if name in _TYPES or name == SAID or _scalar(value)}
    if _SURROGATE.search(line) and not is_text(json.dumps(known, ensure_ascii=False)):
        return None
    return known


def is_text(text: str) -> bool:
    """Whether text can be encoded; lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def open_events(folder: Path) -> BinaryIO | None:
    """Open a folder's events; None if there are none. Raises OSError if they cannot be read."""
    try:
        return open_inside(folder, FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None


def whole_lines(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield complete lines from the file's position, each with its end position; too long ones as empty.

    Only line feeds end a line: JSON may contain Unicode line ends such as U+2028.
    """
    place = file.tell()
    while line := file.readline(LONGEST):
        length, is_long = len(line), False
        while not line.endswith(b"\n"):
            line = file.readline(LONGEST)
            if not line:
                return
            length, is_long = length + len(line), True
        place += length
        yield b"" if is_long else line, place


def ends_whole(path: Path) -> bool:
    """Whether the last line of a file is complete; a kill may truncate it."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
