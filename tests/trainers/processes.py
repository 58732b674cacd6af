"""Runs in processes of their own, to be stopped and killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tests.trainers.tiny_runs import events_of
from trainers.config.build import dump_config
from trainers.config.config import Config
from trainers.runs.run import Run

DRIVER = """
import sys
from pathlib import Path
import torch
from trainers.config.build import dump_config, read_config
from trainers.training.train import train
torch.set_num_threads(int(sys.argv[3]))
train(read_config(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@contextmanager
def training_process(config: Config, out: Path) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, which is killed at the end if it is still there."""
    file = out.parent / f"{out.name}.toml"
    file.write_text(dump_config(config), encoding="utf-8")
    arguments = [sys.executable, "-c", DRIVER, str(file), str(out), str(torch.get_num_threads())]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(kind: str, step: int, run: Run, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not any(event["step"] >= step for event in events_of(run, kind)):
        assert process.poll() is None and time.monotonic() < deadline, "the run never came that far"
        time.sleep(0.02)
