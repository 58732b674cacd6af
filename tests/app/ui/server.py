"""`velatura ui` as a process."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path

from app.jobs.processes.process import Child, start_detached
from app.jobs.store import Store
from tests.app.ui.slow_answers import SEED
from tests.forked import IMPORTED_WITH, fork

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
SLOWER_STEPS = SLOW_STEPS.replace("0.05", "0.2")
"""For those of which a test wants few steps and many checkpoints."""

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
