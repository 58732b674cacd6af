"""Following a run's events while they are written: each whole line once, from wherever the last look ended."""

from __future__ import annotations

import json
import os
from pathlib import Path

from trainers.events import Event


class Follower:
    """Reads what was added to an `events.jsonl` since its last look; one a run serves every page that shows it."""

    def __init__(self, folder: Path, offset: int = 0):
        self._path = folder / "events.jsonl"
        self.offset = offset
        """Bytes that were read, up to the end of a line."""

    def read(self) -> list[Event]:
        """The events that are new and whole; one that is still being written is left for the next look.

        A line that a kill cut short is passed over. Where the file has become shorter it is another one: it is read
        from its start, after an event `anew`.
        """
        try:
            with self._path.open("rb") as file:
                replaced = file.seek(0, os.SEEK_END) < self.offset
                self.offset = 0 if replaced else self.offset
                file.seek(self.offset)
                added = file.read()
        except FileNotFoundError:
            return []
        whole = added[: added.rfind(b"\n") + 1]
        self.offset += len(whole)
        events = [event for line in whole.split(b"\n") if (event := _event(line)) is not None]
        return [{"type": "anew"}, *events] if replaced else events


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line.decode("utf-8", "replace"))
    except json.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "type" in event else None
