"""The process that jobs are forked from: `python -m … FD SECONDS MODULE … --later MODULE …`.

It imports modules, those after `--later` while there are no requests, and computes nothing. Each request becomes a
child that runs a module like `python -m`. It ends when its client is gone, or after some time without children and
requests.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from app.jobs.processes.process import code_of
from app.startup import prepare_process

MOST = 1 << 20
"""Maximum bytes of a request, which includes an environment."""
PAUSE = 0.5
"""Seconds without a request after which a later module is imported."""
LATER = "--later"
"""Separates the modules that are imported first from the others."""
TASKS = Path("/proc/self/task")
"""Folder with an entry for each thread of this process."""


def main(descriptor: str, idle: str, *modules: str) -> None:
    """Serve requests; in a child, run its module."""
    prepare_process()
    connection = socket.socket(fileno=int(descriptor))
    first, later = _split(modules)
    for name in first:
        importlib.import_module(name)
    if request := serve_forks(connection, float(idle), later):
        _run(request)


def _split(modules: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The modules to import first, and later."""
    place = modules.index(LATER) if LATER in modules else len(modules)
    return modules[:place], modules[place + 1 :]


def serve_forks(connection: socket.socket, idle: float, later: Sequence[str] = ()) -> dict[str, Any] | None:
    """Fork on request until the client is gone, or for `idle` seconds without children and requests.

    Returns None, or in a forked child its request, for `adopt_request`. `later` modules are imported while there are no
    requests. Raises SystemExit if this process has threads.
    """
    _be_forkable()
    return _Server(connection, idle, later).serve()


def _be_forkable() -> None:
    """Keep garbage collection from writing to shared pages; raises SystemExit if this process has threads."""
    gc.collect()
    gc.freeze()  # a child's collections then copy no shared pages
    if len(list(TASKS.iterdir())) > 1:
        raise SystemExit("this process has threads, which a forked one would not have")


class _Server:
    """Forks on request and reports exit codes; the client decides when a child is collected."""

    def __init__(self, connection: socket.socket, idle: float, later: Sequence[str] = ()) -> None:
        self._connection, self._idle, self._later = connection, idle, list(later)
        self._children: dict[int, int] = {}  # request numbers by process id
        self._ended: set[int] = set()
        self._released: set[int] = set()  # to be collected when they end
        self._wakeup = os.pipe()
        os.set_blocking(self._wakeup[1], False)
        signal.signal(signal.SIGCHLD, _ignore)  # without a handler nothing is written into the pipe
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)

    def serve(self) -> dict[str, Any] | None:
        """Serve until the end and return None; in a forked child, return its request."""
        asked = time.monotonic()
        while self._children or time.monotonic() < asked + self._idle:
            patience = PAUSE if self._later else self._idle
            ready, _, _ = select.select([self._connection.fileno(), self._wakeup[0]], [], [], patience)
            if not ready and self._later:
                importlib.import_module(self._later.pop(0))
                _be_forkable()
                continue
            if self._wakeup[0] in ready:
                os.read(self._wakeup[0], 4096)
            self._report_ends()
            if self._connection.fileno() not in ready:
                continue
            message, descriptors, _, _ = socket.recv_fds(self._connection, MOST, 2)
            if not message:
                return None
            asked, request = time.monotonic(), json.loads(message)
            if "collect" in request:
                self._collect(request["collect"])
            elif self._fork(request, *descriptors):
                return dict(request)
        return None

    def _fork(self, request: dict[str, Any], log: int, *kept: int) -> bool:
        """Fork; True in the child, which is detached and writes into its log.

        Inherited descriptors become its first arguments.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError as error:
            _close(log, *kept)
            self._send(number=request["number"], error=error.strerror or str(error))
            return False
        if pid:
            _close(log, *kept)
            self._children[pid] = request["number"]
            self._send(number=request["number"], pid=pid)
            return False
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._connection.close()
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        _close(log, *self._wakeup)
        request["arguments"] = [*map(str, kept), *request["arguments"]]
        return True

    def _report_ends(self) -> None:
        for pid in self._children.keys() - self._ended:
            end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if end is not None:
                self._ended.add(pid)
                self._send(number=self._children[pid], code=code_of(end))
                if pid in self._released:
                    self._collect(pid)

    def _collect(self, pid: int) -> None:
        if pid in self._ended:
            os.waitpid(pid, 0)
            self._ended.discard(pid)
            self._released.discard(pid)
            del self._children[pid]
        elif pid in self._children:
            self._released.add(pid)

    def _send(self, **facts: Any) -> None:
        self._connection.send(json.dumps(facts).encode())


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing; with `SIG_IGN` the system would collect children at once."""


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def adopt_request(request: dict[str, Any]) -> list[str]:
    """Set title, environment and arguments to those of `python -m module arguments`; returns the arguments."""
    from setproctitle import setproctitle

    module, arguments = request["module"], request["arguments"]
    # Before the environment changes: setproctitle finds the arguments beside it.
    setproctitle(" ".join(["python", "-m", module, *arguments]))
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = arguments
    return list(arguments)


def _run(request: dict[str, Any]) -> None:
    """Run `python -m module arguments` in the requested environment."""
    adopt_request(request)
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
