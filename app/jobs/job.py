"""A row of the queue as a value: one job, and what is asked for when one is added."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.jobs.process import Identity

Phase = Literal["waiting", "claimed", "running", "held", "ended"]
"""Where a job is: in line; given to a dispatcher that starts it; in its process; in an action's hands; nowhere."""


@dataclass(frozen=True)
class Job:
    """One row; `process` is who has the job in the phases claimed, running and held."""

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
    """How often it went on by itself since it last made progress."""
    restart_step: int = 0
    """The checkpoint that it then went on from."""
    low_memory: bool = False
    """Whether it went on with settings that need less memory."""

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True)
class NewJob:
    """What is asked for; `folder` is in the folder of runs, and `command` is empty for a training."""

    kind: str
    folder: Path
    command: tuple[str, ...] = ()
    cwd: Path = Path()
    owner: str = ""
    wants: str = "auto"
    priority: int = 0


def read_job(row: sqlite3.Row, runs: Path) -> Job:
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118 - a row is no mapping
    process = Identity(values.pop("host"), values.pop("pid"), values.pop("started"), values.pop("boot"))
    values["folder"], values["cwd"] = runs / values["folder"], Path(values["cwd"])
    values["low_memory"] = bool(values["low_memory"])
    values["command"] = tuple(json.loads(values["command"]))
    return Job(**values, process=process)
