"""A real Ray cluster on this machine: a head and nodes, each on an address of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from app.jobs.cluster import ray_node
from app.jobs.cluster.connection import environment, read_token
from app.jobs.cluster.node_job import WORK
from app.jobs.cluster.ray_node import Address
from tests.waiting import wait_until

HEAD_HOST = "127.0.0.2"


class LocalCluster:
    """Its processes; `close` ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = Address(HEAD_HOST, _free_port())
        self.token = read_token(folder / "runs")
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def open(self) -> None:
        """Start the head."""
        assert ray_node.open_head(self.address, self.token)

    def add(self, *hosts: str) -> None:
        """Start nodes with one processor each, and wait until they run.

        Nodes that start on one machine at the same moment may take each other's ports; such a one starts again.
        """
        for host in hosts:
            self._nodes[host] = self._start(host)

        def all_run() -> bool:
            for host in hosts:
                if self._nodes[host].poll() is not None:
                    self._nodes[host] = self._start(host)
            return all("Ray runtime started" in self._log(host).read_text() for host in hosts)

        wait_until(all_run, "a node does not start", every=0.1)

    def _start(self, host: str) -> subprocess.Popen[bytes]:
        command = ray_node.node_command(self.address, host, f"box-{host.rpartition('.')[2]}", {}, 1, 0)
        with self._log(host).open("wb") as log:
            return subprocess.Popen(
                command,
                env={**os.environ, **environment(self.token), "VELATURA_NODE_FOLDER": str(self.folder / host)},
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

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses of the nodes."""
        return tuple(self._nodes)

    def trainings(self) -> list[psutil.Process]:
        """The jobs' processes on all nodes."""
        place = str(self.folder)
        found = (each for each in psutil.process_iter() if WORK in " ".join(_command(each)))
        return [each for each in found if _environment(each).get("VELATURA_NODE_FOLDER", "").startswith(place)]

    def close(self) -> None:
        """End all of it."""
        for host in list(self._nodes):
            self.kill(host)
        for process in psutil.process_iter():
            if self.token in _environment(process).values():
                _try(process.kill)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self, host: str) -> list[psutil.Process]:
        place = str(self.folder / host)
        return [each for each in psutil.process_iter() if _environment(each).get("VELATURA_NODE_FOLDER") == place]


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
