"""The process that jobs are forked from: `python -m … FD SECONDS MODULE … --later MODULE …`.

It imports modules, which may take seconds, those behind `--later` while nobody asks for anything, and computes nothing.
Each request then becomes a child that runs a module as `python -m` would. It ends when its client is gone, or after
some time without children and requests.
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
"""Bytes of a request at most, which holds an environment."""
BREATH = 0.5
"""Seconds without a request after which a module is imported that is needed later."""
LATER = "--later"
"""Stands between the modules that are imported first and the others."""
TASKS = Path("/proc/self/task")
"""Folder with an entry for each thread of this process."""


def main(descriptor: str, idle: str, *modules: str) -> None:
    """Serve requests; in a child, run its module instead."""
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
    """Fork on request until the client is gone, or for `idle` seconds without children and requests; then None.

    The `later` modules are imported meanwhile. In a forked child, return its request at once, for `be_asked`. Raises
    SystemExit if this process has threads.
    """
    _be_forkable()
    return _Server(connection, idle, later).serve()


def _be_forkable() -> None:
    """Leave the pages that children share alone; raises SystemExit if this process has threads."""
    gc.collect()
    gc.freeze()  # a child's collections then leave the pages that it shares with this process alone
    if len(list(TASKS.iterdir())) > 1:
        raise SystemExit("this process has threads, which a forked one would not have")


class _Server:
    """Forks on request and reports ends; a child stays uncollected until the client asks for that."""

    def __init__(self, connection: socket.socket, idle: float, later: Sequence[str] = ()) -> None:
        self._connection, self._idle, self._later = connection, idle, list(later)
        self._children: dict[int, int] = {}  # from process ids to the numbers of their requests
        self._ended: set[int] = set()
        self._left: set[int] = set()  # by the client, to be collected when they end
        self._wakeup = os.pipe()
        os.set_blocking(self._wakeup[1], False)
        signal.signal(signal.SIGCHLD, _ignore)  # or nothing would be written into the pipe
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)

    def serve(self) -> dict[str, Any] | None:
        """Serve until the end, None; in a forked child, return the request at once."""
        asked = time.monotonic()
        while self._children or time.monotonic() < asked + self._idle:
            patience = BREATH if self._later else self._idle
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
        """Whether this is the child, which is then detached and writes into its log.

        Descriptors that it is to keep become its first arguments.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError as error:
            _close(log, *kept)
            self._tell(number=request["number"], error=error.strerror or str(error))
            return False
        if pid:
            _close(log, *kept)
            self._children[pid] = request["number"]
            self._tell(number=request["number"], pid=pid)
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
            found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                self._ended.add(pid)
                self._tell(number=self._children[pid], code=code_of(found))
                if pid in self._left:
                    self._collect(pid)

    def _collect(self, pid: int) -> None:
        if pid in self._ended:
            os.waitpid(pid, 0)
            self._ended.discard(pid)
            self._left.discard(pid)
            del self._children[pid]
        elif pid in self._children:
            self._left.add(pid)

    def _tell(self, **facts: Any) -> None:
        self._connection.send(json.dumps(facts).encode())


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler that does nothing; `SIG_IGN` would have children collected at once."""


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def be_asked(request: dict[str, Any]) -> list[str]:
    """Take the title, environment and arguments of `python -m module arguments`; returns the arguments."""
    from setproctitle import setproctitle

    module, arguments = request["module"], request["arguments"]
    # Before the environment changes: the title is written over the arguments, which are found beside it.
    setproctitle(" ".join(["python", "-m", module, *arguments]))
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = arguments
    return list(arguments)


def _run(request: dict[str, Any]) -> None:
    """Be `python -m module arguments` in the environment that was asked for."""
    be_asked(request)
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
