"""A run's events, one JSON object per line."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainers.messages import Message, to_record
from trainers.runs.event_lines import FILE, SAID, Event, ends_whole, open_events, parse_event, whole_lines

Listener = Callable[[Event], None]
QUIET = frozenset({"step", "drawing", "denoising", "working", "ranks", "queued", "expected", "attempt", "score"})
"""Frequent or internal kinds of event, which go only into `events.jsonl`."""


class Recorder:
    """Appends events to `events.jsonl`, and to `log.txt` unless they are quiet, and calls a listener."""

    def __init__(self, folder: Path, listener: Listener | None = None):
        self._listener = listener
        self.move_to(folder)

    def move_to(self, folder: Path) -> None:
        """Continue in the folder to which the run was moved."""
        self._events, self._log = folder / FILE, folder / "log.txt"
        self._end_cut_line()

    def _end_cut_line(self) -> None:
        """End a line truncated by a kill, which would spoil the next event."""
        if self._events.exists() and not ends_whole(self._events):
            with self._events.open("a", encoding="utf-8") as file:
                file.write("\n")

    def show_life(self) -> None:
        """Show progress within a long step, so that the run does not count as hanging."""
        with suppress(OSError):
            os.utime(self._events)

    def __call__(self, kind: str, **facts: Any) -> None:
        event: Event = {"time": round(time.time(), 3), "type": kind, **{k: _plain(v) for k, v in facts.items()}}
        message = facts.get("message")
        if isinstance(message, Message) and (message.placed or message.named):
            event[SAID] = to_record(message)  # for other languages
        with self._events.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=False) + "\n")
        if kind not in QUIET:
            text = event.get("message") or ", ".join(
                f"{k} {v}" for k, v in event.items() if k not in ("time", "type", SAID)
            )
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {kind}: {_one_line(str(text))}\n")
        if self._listener is not None:
            self._listener(event)


class NoRecord(Recorder):
    """Records nothing, since the run's first process does."""

    def __init__(self) -> None:
        self._listener = None

    def move_to(self, folder: Path) -> None:
        pass

    def show_life(self) -> None:
        pass

    def __call__(self, kind: str, **facts: Any) -> None:
        pass


def read_events(folder: Path) -> Iterator[Event]:
    """The events of a run folder in order, without invalid lines."""
    file = open_events(folder)
    if file is None:
        return
    with file:
        for line, _ in whole_lines(file):
            event = parse_event(line)
            if event is not None:
                yield event


def latest_events(folder: Path) -> list[Event]:
    """The events of a run folder since its last restart from zero, an `anew` event."""
    events: list[Event] = []
    for event in read_events(folder):
        if event["type"] == "anew":
            events.clear()
        else:
            events.append(event)
    return events


def _one_line(text: str) -> str:
    """Text with non-printable characters escaped, which could break the line or control a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no NaN
    return value
