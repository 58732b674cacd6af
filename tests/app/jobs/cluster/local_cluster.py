"""A real Ray cluster on this machine: a head and nodes, each on an address of its own."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from app.jobs.cluster import ray_node
from app.jobs.cluster.connection import environment, read_token
from app.jobs.cluster.ray_node import Address
from app.studio.job_modules import JOB_MODULES
from tests.waiting import wait_until

HEAD_HOST = "127.0.0.2"
FOLDER = "VELATURA_NODE_FOLDER"


class LocalCluster:
    """Its processes; `close` ends them all."""

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._variables = variables or {}
        self.address = Address(HEAD_HOST, _free_port())
        self.token = read_token(folder / "runs")
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def open(self) -> None:
        """Start the head."""
        assert ray_node.open_head(self.address, self.token)

    def add(self, *hosts: str) -> None:
        """Start nodes with one processor each, and wait until they run.

        One after the other: nodes that start on one machine at the same moment may take each other's ports.
        """
        for host in hosts:
            wait_until(lambda host=host: self.ensure(host), f"the node {host} does not start", every=0.1)  # type: ignore[misc]

    def ensure(self, host: str) -> bool:
        """Start a node that does not run; returns whether it runs."""
        if host not in self._nodes or self._nodes[host].poll() is not None:
            self._nodes[host] = self._start(host)
        return "Ray runtime started" in self._log(host).read_text()

    def _start(self, host: str) -> subprocess.Popen[bytes]:
        command = ray_node.node_command(self.address, host, f"box-{host.rpartition('.')[2]}", {}, 1, 0)
        with self._log(host).open("wb") as log:
            return subprocess.Popen(
                command,
                env=os.environ | self._variables | environment(self.token) | {FOLDER: str(self.folder / host)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _log(self, host: str) -> Path:
        return self.folder / f"{host}.log"

    def kill(self, host: str) -> None:
        """Kill every process of a node at once, as when its machine loses its power."""
        for process in self._processes(host):
            _try(process.kill)
        self._nodes.pop(host).wait()

    def freeze(self, host: str) -> list[psutil.Process]:
        """Stop every process of a node, as when its machine hangs; they can be continued."""
        found = self._processes(host)
        for process in found:
            _try(process.suspend)
        return found

    def has_ended(self, host: str) -> bool:
        """Whether no process of a node is left."""
        return not self._processes(host)

    def left(self) -> list[psutil.Process]:
        """Every process of the cluster: Ray's, and those that it started."""
        place = str(self.folder)
        return [each for each in psutil.process_iter() if self._is_own(_environment(each), place)]

    def _is_own(self, variables: Mapping[str, str], place: str) -> bool:
        return self.token in variables.values() or variables.get(FOLDER, "").startswith(place)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses of the nodes."""
        return tuple(self._nodes)

    def trainings(self) -> list[psutil.Process]:
        """The jobs' processes on all nodes; the head's, which follow them, only name the module."""
        return [each for each in self.left() if f"-m {JOB_MODULES.job} " in " ".join(_command(each))]

    def close(self) -> None:
        """End all of it."""
        for host in list(self._nodes):
            self.kill(host)
        left = self.left()
        for process in left:
            _try(process.kill)
        psutil.wait_procs(left, timeout=10)

    def _processes(self, host: str) -> list[psutil.Process]:
        place = str(self.folder / host)
        return [each for each in psutil.process_iter() if _environment(each).get(FOLDER) == place]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _try(do: Callable[[], object]) -> None:
    with suppress(psutil.Error):
        do()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HEAD_HOST, 0))
        return int(probe.getsockname()[1])
