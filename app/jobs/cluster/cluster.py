"""A cluster for a dispatcher: its devices, and the environment of jobs on them."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from app.jobs.cluster.connection import check_ray, environment, read_token
from app.jobs.cluster.nodes import ClusterSnapshot, node_of, read_seen
from app.jobs.cluster.remote_job import ADDRESS, LOST_NODE
from app.jobs.cluster.storage import VARIABLE, own_folder
from app.jobs.processes.devices import DeviceOffer
from app.jobs.processes.process import python_command, python_environment

REMOTE = "app.jobs.cluster.remote_job"
WATCHER = "app.jobs.cluster.watch"
AGAIN = 10.0
"""Seconds between attempts to reach a lost cluster."""
AVOIDED = 120.0
"""Seconds for which a node that lost a job gets no other; Ray knows by then whether it is dead."""
LOG = ".cluster.log"
"""File in the folder of runs with the output of the watching process."""


class Cluster:
    """The nodes of a Ray cluster that serve a folder of runs; a process of its own follows them.

    Large files go through `storage`, if its address is given.
    """

    def __init__(self, runs: Path, address: str, storage: str = "") -> None:
        check_ray()
        self._runs, self._address = runs, address
        place = own_folder(storage, runs) if storage else ""
        self._variables = {**environment(read_token(runs)), ADDRESS: address, VARIABLE: place}
        self._watcher: subprocess.Popen[bytes] | None = None
        self._begun = -AGAIN
        self._lost: dict[str, float] = {}

    @property
    def variables(self) -> dict[str, str]:
        """Environment of a job's process on the head."""
        return self._variables

    def look(self) -> ClusterSnapshot:
        """The cluster as last seen; restarts the watching process if it has ended."""
        if (self._watcher is None or self._watcher.poll() is not None) and time.monotonic() > self._begun + AGAIN:
            self._begun = time.monotonic()
            self._watcher = self._follow()
        return read_seen(self._runs) or ClusterSnapshot()

    def offer(self, own: DeviceOffer) -> DeviceOffer:
        """The devices of this machine and of the nodes, without nodes that have just lost a job."""
        now = time.monotonic()
        return self.look().offer(own.devices, [node for node, since in self._lost.items() if now < since + AVOIDED])

    def note_end(self, device: str, code: int) -> None:
        """Avoid a node for a while if the exit code of a job's process shows that it was lost."""
        if code == LOST_NODE and (node := node_of(device, self.look().nodes)) is not None:
            self._lost[node.id] = time.monotonic()

    def close(self) -> None:
        """Stop watching; jobs on the nodes go on."""
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()
            self._watcher = None

    def _follow(self) -> subprocess.Popen[bytes]:
        self._runs.mkdir(parents=True, exist_ok=True)
        with (self._runs / LOG).open("wb") as log:
            return subprocess.Popen(
                python_command(WATCHER, str(self._runs), self._address),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=python_environment({**os.environ, **self._variables}),
            )
