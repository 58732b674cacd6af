"""Starts drawings from a process that has loaded their base: `WarmServer`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from app.jobs.processes.fork_server import IDLE, ForkServer, Server, Start
from app.jobs.processes.free_memory import LEAST_FREE, free_share


class WarmServer(ForkServer):
    """Forks drawings from a process that holds the base of the last drawing and is itself forked from `parent`.

    Drawings share the memory of the base. The process ends when another base is needed, after some time without
    drawings, and when memory is short. If it is killed or cannot hold a base, drawings start from `parent` and load the
    base themselves.
    """

    def __init__(self, parent: ForkServer, base_holder: str, idle: float = IDLE) -> None:
        """`base_holder` is the module of such a process."""
        super().__init__(idle=idle)
        self._parent, self._base_holder, self._idle = parent, base_holder, idle
        self._instead = parent.start
        self._base, self._request = "", Path()
        self._cannot_hold: set[str] = set()

    def starter(self, base: str, request: Path) -> Start:
        """The function that starts the drawing of a request file on a base."""
        if base != self._base:
            self.close()
        elif self._server is not None and not self._server.is_alive() and not self._server.has_forked:
            self._cannot_hold.add(base)
        self._base, self._request = base, request
        if not base or base in self._cannot_hold or self.is_short():
            return self._parent.start
        return self.start

    def prepare(self, base: str, request: Path) -> None:
        """Load the base of an expected drawing."""
        if sys.platform == "linux" and self.starter(base, request) == self.start:
            self._living_server()

    def make_room(self) -> None:
        """Release the base if memory is short."""
        if self._server is not None and self.is_short():
            self.close()

    def is_short(self) -> bool:
        """Whether too little memory is free to hold a base."""
        return free_share() < LEAST_FREE

    def _living_server(self) -> Server:
        if self._server is None or not self._server.is_alive():
            self.close()
            arguments = [str(self._idle), str(self._request)]
            self._server = self._parent.start_server(self._base_holder, arguments, Path(os.devnull))
        return self._server
