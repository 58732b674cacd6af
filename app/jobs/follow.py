"""Following a run's events while they are written: each whole line once, from wherever the last look ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

from trainers.runs.event_lines import FILE, Event, open_events, parse_event, whole_lines

OPEN_EVERY = 5.0
"""Seconds after which a file is opened though it looks as before: a network disk tells only then what is new."""


class Follower:
    """Reads what was added to an `events.jsonl` since its last look; one a run serves every page that shows it."""

    def __init__(self, folder: Path, offset: int = 0):
        self._folder, self._file = folder, folder / FILE
        self.offset = offset
        """Bytes that were read, up to the end of a line."""
        self._which: tuple[int, int] | None = None
        """The device and the inode of the file that was read."""
        self._seen: tuple[int, ...] = ()
        self._opened = 0.0

    def read(self) -> list[Event]:
        """The events that are new and whole; one that is still being written is left for the next look.

        What is no event is passed over. Where the file was replaced or has become shorter, it is read from its start,
        after an event `anew`. OSError where it cannot be read.
        """
        looks, now = self._look(), time.monotonic()
        if looks and looks == self._seen and now < self._opened + OPEN_EVERY:
            return []
        file = open_events(self._folder)
        if file is None:
            return []
        events: list[Event] = []
        with file:
            found = os.fstat(file.fileno())
            which = found.st_dev, found.st_ino
            if found.st_size < self.offset or which != (self._which or which):
                self.offset = 0
                events.append({"type": "anew"})
            self._which = which
            file.seek(self.offset)
            for line, self.offset in whole_lines(file):
                event = parse_event(line)
                if event is not None:
                    events.append(event)
        self._seen, self._opened = looks, now
        return events

    def _look(self) -> tuple[int, ...]:
        """Something else once the file has been written to, replaced, or closed to us; nothing where it is not seen."""
        try:
            found = self._file.stat()
        except OSError:
            return ()
        return found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns
