"""Processes that outlive the one that started them, and how to know one again: by machine, number and start time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAME_START = 2.0
"""Seconds by which two readings of a start time may differ: some systems derive it from a clock that is corrected."""


@dataclass(frozen=True)
class Identity:
    """One process for good: a number is used again, but not within the second in which it began."""

    host: str
    pid: int
    started: float
    """Unix seconds."""

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, which alone can be looked at."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Whether it runs on this machine now; one that has ended and was not yet collected by its parent does not."""
        return self._find() is not None

    def kill(self) -> None:
        """End it at once, if it is alive and of this machine."""
        import psutil

        found = self._find()
        if found is not None:
            try:
                found.kill()
            except psutil.NoSuchProcess:
                return

    def _find(self) -> Any:
        import psutil

        if not self.is_here:
            return None
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) <= SAME_START
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:  # it is gone, or belongs to somebody who does not let us look
            return None


def own_identity() -> Identity:
    """This process."""
    import psutil

    return Identity(socket.gethostname(), os.getpid(), psutil.Process().create_time())


def start_detached(
    module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `python -m module` so that neither the end nor a Ctrl-C of this process reaches it.

    What it says is added to `log`. OSError where it cannot be started.
    """
    import app

    # Without the current folder on its path, where anything may be called `app`, but with ours.
    ours = str(Path(str(app.__file__)).parents[1])
    path = os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-P", "-m", module, *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, "PYTHONPATH": path},
            **_apart(),
        )


def _apart() -> dict[str, Any]:
    """The options that take a process out of its parent's session, or on Windows out of its console."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
