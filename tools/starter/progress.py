"""How far the starter's training in the background is: a log of what happened, and the state now."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainers.atomic_files import whole_file
from trainers.errors import BusyError, VelaturaError

LOCK, STATUS, LOG = ".lock", "status.json", "progress.log"


def default_state() -> Path:
    """The folder of the training's state: `STARTER_STATE`, or `velatura-starter` in the user's folder of caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("STARTER_STATE") or Path(caches) / "velatura-starter")


class Progress:
    """Tells on the terminal and in `progress.log`, one line an event, and keeps `status.json` beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stage = ""

    def begin(self, stage: str) -> None:
        """What comes next, by name."""
        self.stage = stage
        self.tell(f"{stage} begins")

    def suspend_or_go_on(self, reason: str, threads: int) -> None:
        """Why the training waits, or "" and on how many threads it goes on."""
        self.tell(f"suspended: {reason}" if reason else f"training on {threads} thread{'s' * (threads > 1)}")

    def tell(self, what: str) -> None:
        """Add a line and make it the state now."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        print(f"{now} {what}", flush=True)
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{now} {what}\n")
        status = {"process": os.getpid(), "stage": self.stage, "state": what, "since": now}
        with whole_file(self.folder / STATUS) as building:
            building.write_text(json.dumps(status) + "\n", encoding="utf-8")


def make_state(folder: Path) -> None:
    """Make the folder of the state if it is not there; raises VelaturaError if it cannot be one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VelaturaError(
            f"The state cannot be kept in {folder} ({error.strerror}); name a folder with --state or STARTER_STATE."
        ) from error


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep the folder for this process; raises BusyError if another one trains in it."""
    from filelock import FileLock, Timeout

    make_state(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        number = read_status(folder).get("process", "unknown")
        raise BusyError(
            f"The starter's training is running already (process {number}) in {folder}; --status says how far it is."
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process of this machine trains in the folder now."""
    if not (folder / LOCK).exists():
        return False
    try:
        with hold(folder):
            return False
    except BusyError:
        return True


def read_status(folder: Path) -> dict[str, Any]:
    """What `status.json` says, nothing if it is not there."""
    path = folder / STATUS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def describe_status(folder: Path, planned: Mapping[str, int], figures: Mapping[str, Mapping[str, float]]) -> str:
    """How far the training is, as text.

    `planned` has the steps of each stage by its folder below `folder`, `figures` those of each finished part.
    """
    status = read_status(folder)
    if not status:
        return f"Nothing has been trained in {folder} yet."
    running = is_held(folder)
    lines = [
        f"Running (process {status['process']}) in {folder}" if running else f"Not running in {folder}",
        f"{status['since']} {': '.join(filter(None, (status['stage'], status['state'])))}",
    ]
    for stage, steps in planned.items():
        latest = read_latest(folder / stage / "log.jsonl")
        if latest:
            figure_line = ", ".join(f"{key} {value}" for key, value in latest.items() if key != "step")
            lines.append(f"{stage}: step {latest['step']} of {steps}, {figure_line}")
    lines += [line for name, found in figures.items() for line in ("", name, *(f"  {k} {v}" for k, v in found.items()))]
    return "\n".join(lines)


def read_latest(log: Path) -> dict[str, Any]:
    """The latest value of everything that the log of a stage holds; nothing if there is no log."""
    latest: dict[str, Any] = {}
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines(keepends=True):
            latest |= json.loads(line) if line.endswith("\n") else {}
    return latest
