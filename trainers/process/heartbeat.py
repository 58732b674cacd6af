"""The heartbeat: a file that a living process rewrites, for observers outside the process.

It also holds the time of the run's last progress, by the monotonic clock, since a hanging process still beats.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from trainers.process.oom import count_kills
from trainers.regular_files import read_inside

BEAT = 5.0
"""Seconds between beats."""
LEAST_SILENCE = 600.0
"""Minimum seconds without progress before a run counts as hanging."""
STEPS_OF_SILENCE = 20
"""And at least this many of its usual steps."""
WRITTEN = 2**20
"""Written bytes that count as progress: a download shows no other."""
GAPS = 20
"""Number of latest steps whose median is the usual step."""


@dataclass(frozen=True)
class Beat:
    """A process's latest beat; times are those of `time.monotonic`, one clock per machine."""

    at: float
    spoke: float
    """Time of the last progress."""
    usual: float = 0.0
    """Usual seconds between signs of progress in this phase, otherwise in the slowest so far; 0 if unknown."""
    kills: dict[str, int] = field(default_factory=dict)
    """Out-of-memory kills so far (`trainers.process.oom`)."""
    pid: int = field(default_factory=os.getpid)

    @property
    def patience(self) -> float:
        """Seconds without progress after which the run counts as hanging."""
        return max(LEAST_SILENCE, STEPS_OF_SILENCE * self.usual)

    def silence(self, here: bool) -> float:
        """Seconds since the last progress; for another machine's run, up to its last beat."""
        return max(0.0, (time.monotonic() if here else self.at) - self.spoke)


@contextmanager
def beating(file: Path, events: Path) -> Iterator[None]:
    """Write `file` every `BEAT` seconds while the block runs, and delete it afterwards; after a kill it stays.

    `events` is watched for progress.
    """
    done, watch = threading.Event(), _Watch(events)

    def beat() -> None:
        while not done.wait(BEAT):
            _write(file, watch.look())

    _write(file, watch.look())
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        file.unlink(missing_ok=True)


def beat_once(file: Path, events: Path) -> None:
    """Write a first beat, before the process has loaded its libraries."""
    _write(file, _Watch(events).look())


def read_beat(file: Path) -> Beat | None:
    """The latest beat; None without one or from an older version."""
    try:
        stored = json.loads(read_inside(file.parent, file.name))
        kills = {str(path): int(count) for path, count in stored["kills"].items()}
        return Beat(float(stored["at"]), float(stored["spoke"]), float(stored["usual"]), kills, int(stored["pid"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


class _Watch:
    """Tracks a run's progress and the usual time between signs of progress."""

    def __init__(self, events: Path):
        self._events = events
        self._state = self._read_state()
        self._spoke = time.monotonic()
        self._kind, self._gaps = "", dict[str, deque[float]]()
        self._written = _bytes_written()

    def look(self) -> Beat:
        now, state, written = time.monotonic(), self._read_state(), _bytes_written()
        if state != self._state:
            kind = self._newest_kind()
            if kind == self._kind:
                self._gaps.setdefault(kind, deque(maxlen=GAPS)).append(now - self._spoke)
            self._kind = kind
            self._state, self._spoke, self._written = state, now, written
        elif written - self._written >= WRITTEN:
            self._spoke, self._written = now, written
        return Beat(now, self._spoke, self._usual(), count_kills())

    def _usual(self) -> float:
        usual = {kind: median(gaps) for kind, gaps in self._gaps.items()}
        return usual.get(self._kind, max(usual.values(), default=0.0))  # after a checkpoint comes a step

    def _read_state(self) -> tuple[int, int]:
        try:
            status = self._events.stat()
        except OSError:
            return 0, 0
        return status.st_size, status.st_mtime_ns

    def _newest_kind(self) -> str:
        """The type of the last event: steps and pictures take their own time."""
        try:
            with self._events.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 2**16))
                lines = file.read().splitlines()
            event: Any = json.loads(lines[-1])
            return str(event["type"])
        except (OSError, ValueError, TypeError, KeyError, IndexError):
            return ""


def _bytes_written() -> int:
    """Bytes that this process has written, 0 if the system does not count them; those of a beat are few."""
    import psutil

    try:
        counters = psutil.Process().io_counters()
    except (AttributeError, psutil.Error, OSError):
        return 0
    return int(getattr(counters, "write_chars", counters.write_bytes))


def _write(file: Path, beat: Beat) -> None:
    with suppress(OSError):  # a failed heartbeat must not end the run
        # In one call over the old content, so that readers never get half a beat.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            content = json.dumps(asdict(beat)).encode()
            os.write(descriptor, content.ljust(os.fstat(descriptor).st_size))
            os.utime(file)
        finally:
            os.close(descriptor)
