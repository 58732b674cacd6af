"""A row of the queue as a value: a job, and the request for a new one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from app.jobs.processes.process import Identity
from trainers.runs.events import Recorder

REQUEST = "request.json"
"""File in a small job's folder with its request."""
EXPECTED = ".expected-drawing.json"
"""File in the folder of runs with the request of an expected drawing."""
Phase = Literal["waiting", "claimed", "running", "held", "ended"]
"""A job's phase: waiting; claimed by a dispatcher; running in its process; held by an action; ended."""


@dataclass(frozen=True)
class Job:
    """A row; `process` has the job in the phases claimed, running and held."""

    id: int
    kind: str
    folder: Path
    command: tuple[str, ...]
    cwd: Path
    owner: str
    wants: str
    priority: int
    position: int
    phase: Phase
    requested: str
    device: str
    token: str
    process: Identity
    attempts: int
    added: float
    begun: float
    ended: float
    restarts: int = 0
    """Automatic restarts since the last progress."""
    restart_step: int = 0
    """Checkpoint of the last restart."""
    low_memory: bool = False
    """Whether it restarted with settings that need less memory."""
    held_from: str = ""
    """The phase to which a held job returns; otherwise empty."""
    held_since: float = 0.0
    """Time since which a job is held, in Unix seconds."""

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class NewJob:
    """A new job; `folder` is in the folder of runs, and `command` is empty for a training."""

    kind: str
    folder: Path
    command: tuple[str, ...] = ()
    cwd: Path = Path()
    owner: str = ""
    wants: str = "auto"
    priority: int = 0
    attempts: int = 0
    """Number of earlier attempts in its folder."""


def read_job(row: sqlite3.Row, runs: Path) -> Job:
    """The job of a row. Raises sqlite3.DatabaseError if a column has an invalid value."""
    values = {key: _read(row, key, _READ[key]) for key in row.keys()}  # noqa: SIM118 - a row is not a mapping
    process = Identity(values.pop("host"), values.pop("pid"), values.pop("started"), values.pop("boot"))
    values["folder"], values["cwd"] = runs / values["folder"], Path(values["cwd"])
    values["low_memory"] = bool(values["low_memory"])
    return Job(**values, process=process)


def read_worker(row: sqlite3.Row) -> tuple[Identity, tuple[str, ...]]:
    """Process and devices of a dispatcher's row. Raises sqlite3.DatabaseError if a column has an invalid value."""
    process = Identity(*(_read(row, key, _READ[key]) for key in ("host", "pid", "started", "boot")))
    return process, _read(row, "devices", _READ["command"])


def _read(row: sqlite3.Row, key: str, read: Callable[[Any], Any]) -> Any:
    try:
        return read(row[key])
    except (ValueError, TypeError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"a row has an invalid {key}") from error


def as_kept(path: Path, runs: Path) -> str:
    """A path as stored in rows and trash: relative if it is in the folder of runs, which may be moved."""
    path = path.absolute()
    return path.relative_to(runs).as_posix() if path.is_relative_to(runs) else str(path)


def read_text(value: Any) -> str:
    """A string of bounded length without NUL. Like the functions below, raises ValueError for other values."""
    if not isinstance(value, str) or "\0" in value or len(value) > LONGEST:
        raise ValueError
    value.encode()  # no lone surrogates
    return value


def read_place(value: Any) -> str:
    """A path that is valid on any system."""
    if not read_text(value) or len(value) > 4000 or any(len(part.encode()) > 255 for part in Path(value).parts):
        raise ValueError
    return str(value)


def read_folder(value: Any) -> str:
    """A path that ends in a name."""
    if Path(read_place(value)).name in ("", ".."):
        raise ValueError
    return str(value)


def _phase(value: Any) -> str:
    if value not in get_args(Phase):
        raise ValueError
    return str(value)


def read_whole(value: Any) -> int:
    """An integer of bounded size."""
    if not isinstance(value, int) or abs(value) > MOST:
        raise ValueError
    return value


def read_moment(value: Any) -> float:
    """Unix seconds."""
    if not isinstance(value, int | float) or not 0 <= value < LATEST:
        raise ValueError
    return float(value)


def _command(value: Any) -> tuple[str, ...]:
    words = json.loads(read_text(value))
    if not isinstance(words, list):
        raise ValueError
    return tuple(read_text(word) for word in words)


LONGEST, MOST, LATEST = 2**20, 2**31, 253_402_300_800.0
"""Limits of a row: characters of a string, absolute value of an integer, Unix seconds (year 10000)."""
_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("kind", "owner", "wants", "requested", "device", "token", "host", "boot", "held_from"), read_text),
    **dict.fromkeys(("priority", "position", "pid", "attempts", "restarts", "restart_step", "low_memory"), read_whole),
    **dict.fromkeys(("started", "added", "begun", "ended", "held_since"), read_moment),
    **{"id": int, "folder": read_folder, "cwd": read_place, "command": _command, "phase": _phase},
}


def read_table(path: Path) -> dict[str, Any]:
    """A small job's request from its file; empty if it cannot be read."""
    try:
        table = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def write_request(job: Job) -> None:
    """Write a job's request into its folder, from which a lost row can be rebuilt."""
    if not job.folder.is_dir():
        return
    with suppress(OSError):  # needed only if the row is lost
        Recorder(job.folder)(
            "queued",
            job=job.id,
            task=job.kind,
            owner=job.owner,
            wants=job.wants,
            priority=job.priority,
            cwd=job.cwd,
            command=list(job.command),
        )
