"""Starts processes from a server that has imported their libraries: `ForkServer`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from app.jobs.processes.fork_server_process import LATER
from app.jobs.processes.process import (
    Child,
    Identity,
    identity_of,
    python_command,
    python_environment,
    start_detached,
)

SERVER = "app.jobs.processes.fork_server_process"
IDLE = 600.0
"""Seconds without jobs until the server ends; it holds some 420 MB."""
MOST = 1 << 16
"""Maximum bytes of an answer."""
Start = Callable[[str, Sequence[str], Path, Mapping[str, str]], Child]
"""The signature of `start_detached`: module, arguments, log, more environment variables."""


class ForkServer:
    """Starts processes like `start_detached`, forked from a server process that starts with the first of them.

    The processes outlive this object and the server. If the system cannot fork safely or the server does not answer,
    `start_detached` starts them. Environment variables that libraries read at import have the values of the server's
    start. Not thread-safe. A running `server` is used until it ends.
    """

    def __init__(
        self,
        modules: Sequence[str] = (),
        idle: float = IDLE,
        later: Sequence[str] = (),
        server: Server | None = None,
    ) -> None:
        """`modules` are imported before the first process starts, those in `later` while no process is requested."""
        self._arguments = (str(idle), *modules, LATER, *later)
        self._instead: Start = start_detached
        self._server = server
        self._pending: list[_Forked] = []

    def start(self, module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> Child:
        """Start `python -m module`; see `start_detached`."""
        if sys.platform != "linux":
            return start_detached(module, arguments, log, environment)
        request = _Request(module, tuple(arguments), log, dict(environment))
        child = _Forked(self._living_server(), request, self._instead)
        self._pending = [other for other in self._pending if other.is_pending()] + [child]
        return child

    def start_server(self, module: str, arguments: Sequence[str], log: Path) -> Server:
        """Fork a process that becomes a fork server itself, with a descriptor for requests as its first argument.

        Linux only. Raises OSError if its log cannot be written.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            parent = self._living_server()
            answer = parent.ask(_Request(module, tuple(arguments), log, {}), theirs.fileno())
        return Server(ours, _ForkedServer(parent, answer))

    def close(self) -> None:
        """End the server; pending processes are started without it, running ones go on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for child in self._pending:
            child.exit_code()
        self._pending = []

    def _living_server(self) -> Server:
        if self._server is None or not self._server.is_alive():
            self.close()
            self._server = _begin(self._arguments)
        return self._server


@dataclass(frozen=True)
class _Request:
    module: str
    arguments: tuple[str, ...]
    log: Path
    environment: dict[str, str]
    """More environment variables."""


@dataclass
class _Answer:
    """The server's answers about one child."""

    identity: Identity | None = None
    failed: bool = False
    code: int | None = None


class _Process(Protocol):
    """The process of a server."""

    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> object: ...


class Server:
    """The client of a server; see `fork_server_process` for the messages."""

    def __init__(self, connection: socket.socket, process: _Process) -> None:
        self._answers: list[_Answer] = []
        self._connection, self._process = connection, process
        connection.setblocking(False)

    @property
    def has_forked(self) -> bool:
        """Whether it has forked a child."""
        self.receive()
        return any(answer.identity is not None for answer in self._answers)

    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    def ask(self, request: _Request, *descriptors: int) -> _Answer:
        """Request a child that inherits these descriptors; OSError if its log cannot be written."""
        answer = _Answer()
        self._answers.append(answer)
        facts = {"number": len(self._answers) - 1, "module": request.module, "arguments": request.arguments}
        message = json.dumps({**facts, "environment": python_environment(request.environment)}).encode()
        with request.log.open("ab") as log:
            try:
                socket.send_fds(self._connection, [message], [log.fileno(), *descriptors])
            except OSError:
                answer.failed = True
        return answer

    def collect(self, identity: Identity) -> None:
        """Let the server collect an ended child."""
        with suppress(OSError):  # without the server, the system collects it
            self._connection.send(json.dumps({"collect": identity.pid}).encode())

    def receive(self) -> None:
        """Read the pending answers."""
        with suppress(OSError):  # nothing more for now, or it is closed
            while message := self._connection.recv(MOST):
                self._take(json.loads(message))

    def close(self) -> None:
        """Kill it and read its last answers."""
        self._process.kill()
        self._process.wait()
        self.receive()
        self._connection.close()

    def _take(self, facts: dict[str, Any]) -> None:
        import psutil

        answer = self._answers[facts["number"]]
        if "code" in facts:
            answer.code = facts["code"]
        elif "pid" in facts:
            answer.identity = Identity("", facts["pid"], 0)
            with suppress(psutil.Error, OSError):
                answer.identity = identity_of(facts["pid"])
        else:
            answer.failed = True


def _begin(arguments: Sequence[str]) -> Server:
    """Start a server process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            python_command(SERVER, str(theirs.fileno()), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=python_environment({"OPENBLAS_NUM_THREADS": "1"}),  # a forked process would not have its threads
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    return Server(ours, process)


class _ForkedServer:
    """The process of a server that was forked from another server."""

    def __init__(self, parent: Server, answer: _Answer) -> None:
        self._parent, self._answer = parent, answer

    def poll(self) -> int | None:
        """Its exit code; None while it runs or is pending."""
        serves = self._parent.is_alive()
        self._parent.receive()
        answer = self._answer
        if answer.code is not None or answer.failed:
            return answer.code or 0
        if answer.identity is not None:
            return None if answer.identity.is_alive() else 0
        return None if serves else 0

    def kill(self) -> None:
        """Kill it; one that is pending ends by itself without a client."""
        if self.poll() is None and self._answer.identity is not None:
            self._answer.identity.kill()

    def wait(self) -> None:
        """Let its parent collect it."""
        if self._answer.identity is not None:
            self._parent.collect(self._answer.identity)


class _Forked:
    """A child of the server, or started without the server if that failed."""

    def __init__(self, server: Server, request: _Request, instead: Start) -> None:
        self._server, self._request, self._instead = server, request, instead
        self._answer = server.ask(request)
        self._plain: Child | None = None

    @property
    def pid(self) -> int:
        """Its process id; 0 while it is pending."""
        if self._plain is not None:
            return self._plain.pid
        self._server.receive()
        return self._answer.identity.pid if self._answer.identity else 0

    def is_pending(self) -> bool:
        """Whether the server has not answered yet."""
        return self._plain is None and self.pid == 0

    def exit_code(self) -> int | None:
        """See `Child`; 0 if the server ended before it."""
        if self._plain is not None:
            return self._plain.exit_code()
        serves = self._server.is_alive()  # before the last answers are read
        self._server.receive()
        answer = self._answer
        if answer.code is not None or (serves and not answer.failed):
            return answer.code
        if answer.identity is not None:
            return None if answer.identity.is_alive() else 0
        request = self._request
        try:
            self._plain = self._instead(request.module, request.arguments, request.log, request.environment)
        except OSError:
            return 1
        return None

    def collect(self) -> None:
        """See `Child`."""
        if self._plain is not None:
            self._plain.collect()
        elif self._answer.identity is not None:
            self._server.collect(self._answer.identity)
