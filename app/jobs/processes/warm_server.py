"""Drawings that start at once, forked from a process that has loaded their base: `WarmServer`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from app.jobs.processes.fork_server import IDLE, ForkServer, Server, Start
from app.jobs.processes.free_memory import LEAST_FREE, free_share


class WarmServer(ForkServer):
    """Forks drawings from a process that is itself forked from a server and holds the base of the last drawing.

    The process has computed nothing, so each drawing is a process like every other and shares the base's memory with
    it. It is given up with another base, after some time without drawings, and when memory is short. Where it cannot
    hold a base, as one that would leave too little memory, or is killed, drawings start from the other server and load
    the base themselves.
    """

    def __init__(self, parent: ForkServer, base_holder: str, idle: float = IDLE) -> None:
        """`base_holder` is the module of such a process."""
        super().__init__(idle=idle)
        self._parent, self._base_holder, self._idle = parent, base_holder, idle
        self._instead = parent.start
        self._base, self._request = "", Path()
        self._cannot_hold: set[str] = set()

    def starter(self, base: str, request: Path) -> Start:
        """How to start the drawing on a base that a request's file asks for."""
        if base != self._base:
            self.close()
        elif self._server is not None and not self._server.is_alive() and not self._server.has_forked:
            self._cannot_hold.add(base)
        self._base, self._request = base, request
        if not base or base in self._cannot_hold or self.is_short():
            return self._parent.start
        return self.start

    def prepare(self, base: str, request: Path) -> None:
        """Load the base of a drawing that may be asked for soon."""
        if sys.platform == "linux" and self.starter(base, request) == self.start:
            self._living_server()

    def make_room(self) -> None:
        """Give the base up if memory is short."""
        if self._server is not None and self.is_short():
            self.close()

    def is_short(self) -> bool:
        """Whether there is too little memory to hold a base for later."""
        return free_share() < LEAST_FREE

    def _living_server(self) -> Server:
        if self._server is None or not self._server.is_alive():
            self.close()
            arguments = [str(self._idle), str(self._request)]
            self._server = self._parent.start_server(self._base_holder, arguments, Path(os.devnull))
        return self._server
