"""Runs in processes of their own, to be stopped and killed: `python -m tests.trainers.processes CONFIG OUT THREADS`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tests.forked import ForkedProcess
from tests.trainers.tiny_runs import events_of
from trainers.config.build import dump_config, read_config
from trainers.config.config import Config
from trainers.runs.run import Run
from trainers.training.train import train


@contextmanager
def training_process(config: Config, out: Path) -> Iterator[ForkedProcess]:
    """A run in a process of its own, which is killed at the end if it is still there."""
    file = out.parent / f"{out.name}.toml"
    file.write_text(dump_config(config), encoding="utf-8")
    arguments = [str(file), str(out), str(torch.get_num_threads())]
    process = ForkedProcess("tests.trainers.processes", arguments, out.with_suffix(".log"), {})
    try:
        yield process
    finally:
        process.close()


def wait_for(kind: str, step: int, run: Run, process: ForkedProcess) -> None:
    deadline = time.monotonic() + 120
    while not any(event["step"] >= step for event in events_of(run, kind)):
        assert process.is_running() and time.monotonic() < deadline, process.printed()
        time.sleep(0.02)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    train(read_config(Path(sys.argv[1])), Path(sys.argv[2]))
