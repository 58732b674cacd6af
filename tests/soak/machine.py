"""One queue with what serves it, all in processes of their own that can be killed and started again."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from app.jobs.processes.fork_server import SERVER
from app.jobs.processes.process import find_processes
from app.jobs.store import Job, Store
from app.studio.job_modules import JOB_MODULES

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "VELATURA_JOB_NICENESS": "0"}
"""One thread, in every run and in the uncut one that they are compared with; not starved on a busy machine."""


@dataclass
class Service:
    """A command that is started again whenever it is dead."""

    arguments: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def ensure(self) -> None:
        """Start it where it does not run."""
        if self.process is None or self.process.poll() is not None:
            with self.log.open("ab") as log:
                command = [sys.executable, "-m", "app.cli", *self.arguments]
                self.process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Machine:
    """A folder of runs with its services."""

    runs: Path
    services: dict[str, Service] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runs.mkdir(parents=True)
        self.store = Store(self.runs)

    def serve(self, name: str, *arguments: str) -> None:
        """Add a service, and start it."""
        log = self.runs.parent / f"{self.runs.name}-{name}.log"
        self.services[name] = Service([*arguments, "--out", str(self.runs)], log)
        self.services[name].ensure()

    def ensure(self) -> None:
        """Start again what was killed."""
        for service in self.services.values():
            service.ensure()

    def kill_services(self) -> None:
        """End all of them."""
        for service in self.services.values():
            service.kill()

    def fork_servers(self) -> list[psutil.Process]:
        """What the services fork their jobs from."""
        return self._descendants(SERVER)

    def base_holders(self) -> list[psutil.Process]:
        """What the services fork drawings from."""
        return self._descendants(JOB_MODULES.base_holder)

    def _descendants(self, module: str) -> list[psutil.Process]:
        found = []
        for service in self.services.values():
            with suppress(psutil.Error):
                own = (
                    psutil.Process(service.process.pid).children(recursive=True) if service.process is not None else []
                )
                found += [each for each in own if module in " ".join(each.cmdline()).split()]
        return found

    def processes(self) -> dict[int, list[psutil.Process]]:
        """The living processes of each job, by its number; there should never be two for long."""
        found: dict[int, list[psutil.Process]] = {}
        for identity, command in find_processes(rf"{re.escape(str(self.runs))} (\d+) \w+"):
            with suppress(psutil.Error):
                process = psutil.Process(identity.pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.setdefault(int(command[1]), []).append(process)
        return found

    def kill_job(self, job: Job) -> bool:
        """End the process that a job's row names; whether there was one."""
        return job.process.kill()

    def integrity(self) -> str:
        """What SQLite says of the queue's file."""
        try:
            with closing(sqlite3.connect(self.store.path)) as connection:
                return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
        except sqlite3.DatabaseError as error:
            return str(error)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
