"""Processes of tests, forked from one that has everything imported: `fork` and `ForkedProcess`."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from app.jobs.processes.fork_server import ForkServer
from app.jobs.processes.process import Child
from app.studio.job_modules import JOB_MODULES
from app.ui.pages import PAGES
from tests.waiting import PATIENCE, wait_until

IMPORTED_WITH = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
"""Variables that libraries read while they are imported."""

SERVED_WITH = (
    "pydantic.v1",
    "pillow_heif",
    "uvicorn.protocols.websockets.auto",
    "uvicorn.lifespan.on",
    "anyio._backends._asyncio",
)
"""What a studio imports beside its own modules when it starts."""


@cache
def fork_server() -> ForkServer:
    """What this process's studios are forked from, which saves each of them, and each of their jobs, the imports."""
    pages = (f"app.ui.{page.module}" for page in PAGES)
    studio = ("app.studio.runs.estimates", "app.ui.server", *pages, *SERVED_WITH, "app.cli.main")
    server = ForkServer((*JOB_MODULES.imports, *JOB_MODULES.later_imports, *studio))
    atexit.register(server.close)
    return server


def fork(module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> Child:
    """Start `python -m module` as `start_detached` does, with everything imported."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in IMPORTED_WITH.items():
            patch.setenv(name, value)  # for the server, which the first start starts
        return fork_server().start("tests.quick_exit", [module, *arguments], log, environment)


class ForkedProcess:
    """`python -m module`, forked with everything imported; it prints into `log`."""

    def __init__(self, module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        self._child = fork(module, arguments, log, environment)

    @property
    def pid(self) -> int:
        """Its number, once the server has forked it."""
        return wait_until(lambda: self._child.pid, self.printed)

    def is_running(self) -> bool:
        return self._child.exit_code() is None

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code, once it has ended."""
        wait_until(lambda: not self.is_running(), lambda: f"it does not end: {self.printed()}", patience=seconds)
        return int(self._child.exit_code() or 0)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def close(self) -> None:
        """Kill it if it is running, and collect it."""
        if self.is_running():
            self.send_signal(signal.SIGKILL)
            self.wait()
        self._child.collect()

    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
