"""Runs in processes of their own, to be stopped and killed: `python -m tests.trainers.processes CONFIG OUT THREADS`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from app.jobs.processes.process import Child
from tests.app.ui.server import fork_server
from tests.trainers.tiny_runs import events_of
from trainers.config.build import dump_config, read_config
from trainers.config.config import Config
from trainers.runs.run import Run
from trainers.training.train import train


@dataclass(frozen=True)
class ForkedProcess:
    """A process that was forked with everything imported, with the members of `Popen` that tests need."""

    child: Child
    log: Path
    """What it prints."""

    @property
    def pid(self) -> int:
        while not (pid := self.child.pid):
            time.sleep(0.01)
        return pid

    def poll(self) -> int | None:
        return self.child.exit_code()

    def wait(self, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.02)
        return code

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def start_forked(module: str, arguments: list[str], log: Path, variables: dict[str, str]) -> ForkedProcess:
    """Start `python -m module` with these variables, which saves it the seconds of its imports."""
    return ForkedProcess(fork_server().start(module, arguments, log, variables), log)


@contextmanager
def training_process(config: Config, out: Path) -> Iterator[ForkedProcess]:
    """A run in a process of its own, which is killed at the end if it is still there."""
    file = out.parent / f"{out.name}.toml"
    file.write_text(dump_config(config), encoding="utf-8")
    arguments = [str(file), str(out), str(torch.get_num_threads())]
    process = start_forked("tests.trainers.processes", arguments, out.with_suffix(".log"), {})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(60)
        process.child.collect()


def wait_for(kind: str, step: int, run: Run, process: ForkedProcess) -> None:
    deadline = time.monotonic() + 120
    while not any(event["step"] >= step for event in events_of(run, kind)):
        assert process.poll() is None and time.monotonic() < deadline, process.printed()
        time.sleep(0.02)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    train(read_config(Path(sys.argv[1])), Path(sys.argv[2]))
