"""A sign of life: a file that a living process keeps writing, for those who cannot see into the process.

It also says, by a clock that nobody sets, how long the run has said nothing: a process that hangs beats on.
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

from trainers.runs.oom import count_kills

BEAT = 5.0
"""Seconds from one beat to the next."""
LEAST_SILENCE = 600.0
"""Seconds without a word before a run counts as hanging, at least."""
STEPS_OF_SILENCE = 20
"""And at least as long as so many of its usual steps."""
WRITTEN = 2**20
"""Bytes written by the process that count as a word: a download says nothing else."""
GAPS = 20
"""Newest steps that the usual one is the median of."""


@dataclass(frozen=True)
class Beat:
    """What a process last said of itself; seconds are those of `time.monotonic`, which is one clock for a machine."""

    at: float
    spoke: float
    """When the run last said something."""
    usual: float = 0.0
    """Seconds from one word to the next in the present phase, else in the slowest so far; 0 where none is known."""
    kills: dict[str, int] = field(default_factory=dict)
    """Processes that the kernel had ended for want of memory (`trainers.runs.oom`)."""
    pid: int = field(default_factory=os.getpid)

    @property
    def patience(self) -> float:
        """Seconds of silence after which the run counts as hanging."""
        return max(LEAST_SILENCE, STEPS_OF_SILENCE * self.usual)

    def silence(self, here: bool) -> float:
        """Seconds since the run said something; of another machine's, until its last beat."""
        return max(0.0, (time.monotonic() if here else self.at) - self.spoke)


@contextmanager
def beating(file: Path, events: Path) -> Iterator[None]:
    """Write `file` every `BEAT` seconds while the block runs; afterwards it is gone, but not where a kill ended it.

    `events` is watched for what the run says.
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
    """Give one sign of life, of a process that is still to load what it needs for more."""
    _write(file, _Watch(events).look())


def read_beat(file: Path) -> Beat | None:
    """The newest beat; None where there is none, or a version before wrote it."""
    try:
        said = json.loads(file.read_bytes())
        kills = {str(path): int(count) for path, count in said["kills"].items()}
        return Beat(float(said["at"]), float(said["spoke"]), float(said["usual"]), kills, int(said["pid"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


class _Watch:
    """Notices when a run says something, and how long it usually takes from one word to the next of its kind."""

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
        return usual.get(self._kind, max(usual.values(), default=0.0))  # after a checkpoint, a step is what comes next

    def _read_state(self) -> tuple[int, int]:
        try:
            found = self._events.stat()
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns

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
    """What this process has written so far, where the system counts it; a heartbeat's own is far below `WRITTEN`."""
    import psutil

    try:
        counters = psutil.Process().io_counters()
    except (AttributeError, psutil.Error, OSError):
        return 0
    return int(getattr(counters, "write_chars", counters.write_bytes))


def _write(file: Path, beat: Beat) -> None:
    with suppress(OSError):  # a sign that cannot be given must not end what it is about
        # In one call, over what was there: whoever reads meanwhile finds a whole beat or none.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            content = json.dumps(asdict(beat)).encode()
            os.write(descriptor, content.ljust(os.fstat(descriptor).st_size))
            os.utime(file)
        finally:
            os.close(descriptor)
