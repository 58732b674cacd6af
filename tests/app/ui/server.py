"""`velatura ui` as a process."""

from __future__ import annotations

import atexit
import os
import re
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from app.jobs.processes.fork_server import ForkServer
from app.jobs.processes.process import Child, start_detached
from app.jobs.store import Store
from app.studio.job_modules import JOB_MODULES
from app.ui.pages import PAGES
from tests.app.ui.slow_answers import SEED

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

SLOW_STEPS = """
import time
from trainers.training import loop
def report(*given, at_once=loop._report):
    time.sleep(0.05)
    at_once(*given)
loop._report = report
"""
"""For `before`: trainings that go on until a test ends them leave the processor to the browser, where they are forked.
"""

MEASURED = """
from app.studio.runs import estimates as measuring
def measure_config(config, on_progress):
    from dataclasses import asdict
    from app.studio.runs.estimates import circumstances
    from trainers.training.estimate import Estimate
    found = Estimate(60.0, 1.0, 1.0, 4, 2**30, 2**33, 2**20, False, 10_000, config.train.steps, 5, "cpu")
    on_progress("estimate", **asdict(found), **circumstances(config, "cpu", 0.0))
    return found
measuring.measure_config = measure_config
"""
"""For `before`: what a training takes is made up instead of measured by training."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


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
        return fork_server().start(module, arguments, log, environment)


class Process:
    """A studio that runs by itself until it is stopped; `url` is where it answers.

    `before` is code that its process runs first; jobs that are forked from it have its effects, too. With `fresh`, it
    and its jobs import everything themselves, as those of people do.
    """

    def __init__(self, out: Path, *options: str, before: str = "", fresh: bool = False, **variables: str) -> None:
        self.out, self.options, self.variables = out, options, variables
        self.before, self.fresh = before, fresh
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self, port: int | None = None) -> None:
        """Start it, at the port it had if that is given, and wait until it says where it is.

        Its first port is one that the system gives, not the first that is free: another test's studio would take that
        while this one is down.
        """
        self.log = self.out.with_suffix(".log")
        self.log.write_bytes(b"")
        words = ["ui", "--out", str(self.out.absolute()), *self.options, "--port", str(port or free_port())]
        self._child = self._begin(words)
        end = time.monotonic() + 120
        while not (found := re.search(r"http://\S+:(\d+)/", self.said())):
            assert self.is_running() and time.monotonic() < end, self.said()
            time.sleep(0.05)
        self.url, self.port = found[0].replace("0.0.0.0", "127.0.0.1"), int(found[1])

    def _begin(self, words: list[str]) -> Child:
        variables = IMPORTED_WITH | self.variables
        if self.fresh and not self.before and SEED not in os.environ:
            return start_detached("app.cli", words, self.log, variables)
        start = start_detached if self.fresh else fork
        return start("tests.app.ui.studio_process", [self.before, *words], self.log, variables)

    @property
    def pid(self) -> int:
        return self._child.pid

    def is_running(self) -> bool:
        return self._child.exit_code() is None

    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self, hard: bool = False) -> None:
        """Stop it as a system does, or kill it."""
        os.kill(self.pid, signal.SIGKILL if hard else signal.SIGTERM)
        end = time.monotonic() + 60
        while self.is_running():
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)
        assert hard or self._child.exit_code() == 0, self.said()
        self._child.collect()

    def close(self) -> None:
        """Stop it for good, with its jobs, which would outlive it and take the processor from later tests."""
        self.stop()
        store = Store(self.out)
        for job in store.active() if store.exists() else ():
            job.process.kill()
        store.close()
