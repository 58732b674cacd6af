"""Processes of tests, forked from one that has everything imported: `fork` and `ForkedProcess`."""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil
import pytest

from app.jobs.processes import fork_server_process
from app.jobs.processes.fork_server import IDLE, SERVER, ForkServer, Server
from app.jobs.processes.process import Child
from app.studio.job_modules import JOB_MODULES
from app.ui.pages import PAGES
from tests.quick_exit import run_and_exit
from tests.shared import WORKER
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


def has_their_threads() -> bool:
    """Whether libraries compute in as many threads here as in forked processes."""
    return os.environ.get("OMP_NUM_THREADS") == IMPORTED_WITH["OMP_NUM_THREADS"]


@cache
def fork_server() -> ForkServer:
    """The server of this process's studios and jobs, which spares each of them the imports.

    One of several workers imports most of that for its tests anyway: the server is forked from it, before tests begin.
    """
    pages = (f"app.ui.{page.module}" for page in PAGES)
    studio = ("app.studio.runs.estimates", "app.ui.server", *pages, *SERVED_WITH, "app.cli.main")
    modules = (*JOB_MODULES.imports, *JOB_MODULES.later_imports, *studio)
    if WORKER in os.environ and sys.platform == "linux" and has_their_threads():
        for name in modules:
            importlib.import_module(name)
        server = fork_a_server(modules, from_worker=True)
    else:
        server = ForkServer(modules)
    atexit.register(server.close)
    return server


def fork_a_server(modules: Sequence[str] = (), from_worker: bool = False) -> ForkServer:
    """A server forked from this process, which has imported the modules and computes in this thread alone."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if not pid:
        os.setsid()
        ours.close()
        if from_worker:
            let_go_of_worker(theirs.fileno())
        # It comes back as the server, or as a job that was forked from it.
        run_and_exit(lambda: fork_server_process.main(str(theirs.detach()), str(IDLE)))
    theirs.close()
    return ForkServer(modules, server=Server(ours, _Process(pid)))


def let_go_of_worker(kept: int) -> None:
    """Close all that leads to a worker's parent, which waits for its end, and set what libraries read at import.

    What holds the descriptors here is never taken apart. The environment stays: process titles are written beside it.
    """
    import huggingface_hub.constants
    from setproctitle import setproctitle

    setproctitle(f"python -m {SERVER}")
    with Path(os.devnull).open("r+b") as nothing:
        for number in range(3):
            os.dup2(nothing.fileno(), number)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    del sys.modules["tests.quick_exit"]  # `runpy` would warn of what it runs for the second time
    huggingface_hub.constants.HF_HUB_OFFLINE = True


class _Process(psutil.Process):
    """A forked child, as `subprocess.Popen` shows one."""

    def poll(self) -> int | None:
        try:
            return int(self.wait(0) or 0)
        except psutil.TimeoutExpired:
            return None

    def kill(self) -> None:
        with suppress(psutil.NoSuchProcess):
            super().kill()


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
