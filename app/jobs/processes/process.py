"""Detached processes, and their identity: machine, process id and start time."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

SAME_START = 2.0
"""Tolerance in seconds between two readings of a start time on the wall clock."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Identity:
    """The identity of a process: ids are reused, but not with the same start time."""

    host: str
    pid: int
    started: float
    """Seconds since the boot if `boot` is given, independent of the clock; otherwise Unix seconds."""
    boot: str = ""
    """Id of a Linux boot; empty on other systems, whose start times do not depend on the clock."""

    @property
    def is_here(self) -> bool:
        """Whether it belongs to this machine; other processes cannot be inspected."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Whether it is running on this machine; zombies are not."""
        return self._find() is not None

    def kill(self) -> bool:
        """Kill it; returns False if there is no such process on this machine."""
        import psutil

        process = self._find()
        if process is None:
            return False
        try:
            process.kill()
        except psutil.NoSuchProcess:
            return False
        return True

    def collectors(self) -> frozenset[int]:
        """Ids of the processes that may collect it: parents of an ended process, up to two of them fork servers."""
        import psutil

        process = self._find(ended=True)
        try:
            return frozenset(parent.pid for parent in process.parents()[:3]) if process is not None else frozenset()
        except psutil.Error:
            return frozenset()

    def _find(self, ended: bool = False) -> Any:
        """The process if it is alive, or with `ended` if it is a zombie; otherwise None."""
        import psutil

        if not self.is_here or not self.pid:
            return None
        try:
            process = psutil.Process(self.pid)
            is_it = self._began_with(process) and (process.status() == psutil.STATUS_ZOMBIE) == ended
            return process if is_it else None
        except (psutil.Error, OSError):  # it is gone, or another user's
            return None

    def _began_with(self, process: Any) -> bool:
        if self.boot:
            return self.boot == boot_id() and self.started == _seconds_from_boot(self.pid)
        return abs(float(process.create_time()) - self.started) <= SAME_START


def own_identity() -> Identity:
    """This process."""
    return identity_of(os.getpid())


def identity_of(pid: int) -> Identity:
    """The identity of a living local process. Raises psutil.Error or OSError if it does not exist."""
    import psutil

    boot = boot_id()
    started = _seconds_from_boot(pid) if boot else psutil.Process(pid).create_time()
    return Identity(socket.gethostname(), pid, started, boot)


def find_processes(arguments: str) -> Iterator[tuple[Identity, re.Match[str]]]:
    """The visible processes of this machine that run `python -m module …` with last arguments of this pattern."""
    import psutil

    command = re.compile(rf" -m .* {arguments}$")
    for process in psutil.process_iter(["cmdline"]):
        # The title of a forked process has all words in the first, and zeros behind.
        if match := command.search(" ".join(process.info["cmdline"] or ()).rstrip("\0 ")):
            with suppress(psutil.Error, OSError):
                yield identity_of(process.pid), match


def boot_id() -> str:
    """Id of this boot of a Linux machine; empty on other systems."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _seconds_from_boot(pid: int) -> float:
    """Start time of a Linux process in seconds since boot (proc(5), field 22 of `stat`)."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    ticks = stat[stat.rindex(b")") + 2 :].split()[19]  # the name before it may contain spaces
    return int(ticks) / os.sysconf("SC_CLK_TCK")


class Child(Protocol):
    """A process that a dispatcher has started and will collect."""

    @property
    def pid(self) -> int:
        """Its process id; 0 while unknown."""

    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs.

        If the system allows, this does not collect it, so that `Identity.collectors` shows who will.
        """

    def collect(self) -> None:
        """Collect the ended process."""


def start_detached(module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> Child:
    """Start `python -m module`, which outlives this process and ignores its Ctrl-C.

    Its output is appended to `log`. Raises OSError if it cannot be started.
    """
    with log.open("ab") as output:
        return _Started(
            python_command(module, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=python_environment(environment),
            **_apart(),
        )


def python_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module, without the current folder on the path: it may contain another `app`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with more variables, and this package on the path."""
    import app

    package = str(Path(str(app.__file__)).parents[1])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    return {**os.environ, **variables, "PYTHONPATH": path}


def end_with_parent() -> None:
    """Exit when standard input ends, which the parent process holds open."""

    def wait() -> None:
        while os.read(0, 1):  # unbuffered: a thread in a buffered read aborts the exit of the interpreter
            pass
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


class _Started(subprocess.Popen[bytes]):
    """A child of this process."""

    def exit_code(self) -> int | None:
        """See `Child`."""
        if not hasattr(os, "waitid"):
            return self.poll()
        try:
            end = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # it was collected before
            return self.poll()
        return None if end is None else code_of(end)

    def collect(self) -> None:
        """See `Child`."""
        self.wait()


def code_of(end: os.waitid_result) -> int:
    """The exit code in a result of `waitid`, negative for a signal."""
    return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status


def _apart() -> dict[str, Any]:
    """Options that detach a process from its parent's session, or on Windows from its console."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
