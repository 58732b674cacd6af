"""Reads a run's events while they are written, each complete line once."""

from __future__ import annotations

import os
import time
from pathlib import Path

from trainers.runs.event_lines import FILE, Event, open_events, parse_event, whole_lines

OPEN_EVERY = 5.0
"""Seconds after which an unchanged file is opened again: network disks show changes only then."""


class Follower:
    """Reads new lines of an `events.jsonl`."""

    def __init__(self, folder: Path, offset: int = 0):
        self._folder, self._file = folder, folder / FILE
        self.offset = offset
        """Bytes read, up to the end of a line."""
        self._which: tuple[int, int] | None = None
        """Device and inode of the file."""
        self._seen: tuple[int, ...] = ()
        self._opened = 0.0

    def read(self) -> list[Event]:
        """New complete events; a partial line is left for the next call.

        Invalid lines are skipped. If the file was replaced or truncated, it is read from the start, after an event
        `anew`. Raises OSError if it cannot be read.
        """
        stamp, now = self._stamp(), time.monotonic()
        if stamp and stamp == self._seen and now < self._opened + OPEN_EVERY:
            return []
        file = open_events(self._folder)
        if file is None:
            return []
        events: list[Event] = []
        with file:
            stat = os.fstat(file.fileno())
            which = stat.st_dev, stat.st_ino
            if stat.st_size < self.offset or which != (self._which or which):
                self.offset = 0
                events.append({"type": "anew"})
            self._which = which
            file.seek(self.offset)
            for line, self.offset in whole_lines(file):
                event = parse_event(line)
                if event is not None:
                    events.append(event)
        self._seen, self._opened = stamp, now
        return events

    def _stamp(self) -> tuple[int, ...]:
        """A value that differs once the file was written, replaced or made unreadable; empty without a file."""
        try:
            stat = self._file.stat()
        except OSError:
            return ()
        return stat.st_mode, stat.st_ino, stat.st_size, stat.st_mtime_ns
