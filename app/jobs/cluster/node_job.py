"""The Ray actor that runs a job on a node, in a copy of its folder, and reports every change.

It lives as long as the head's process of the job. Nodes never write to the head's disk, so a node that comes back after
it counted as dead changes nothing there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from app.jobs.cluster.changes import Change, FolderChanges
from app.jobs.cluster.contents import Contents, node_folder
from app.jobs.cluster.manifests import Attempt, StoredAttempt, large_files
from app.jobs.cluster.parcel import Blob, Parcel, rewrite_settings
from app.jobs.processes.process import python_command, python_environment
from trainers.process.oom import count_kills, has_killed_since
from trainers.runs.run import Run, Stop

LOOK_EVERY = 0.3
"""Seconds between checks of a job's folder."""
ALIVE_EVERY = 1.0
"""Seconds between heartbeats."""


@dataclass(frozen=True)
class Alive:
    """A heartbeat."""


@dataclass(frozen=True)
class JobEnd:
    """The end of the job's process."""

    code: int
    """Its exit code, negative for a signal."""
    lacked_memory: bool
    """Whether the system killed a process because memory ran out."""


Report = Change | Alive | JobEnd


def with_heartbeats(reports: Iterator[Report]) -> Iterator[Report]:
    """The reports, with heartbeats while the next one takes long."""
    thread = ThreadPoolExecutor(1)
    try:
        while True:
            coming = thread.submit(next, reports, None)
            while not wait([coming], timeout=ALIVE_EVERY).done:
                yield Alive()
            report = coming.result()
            if report is None:
                return
            yield report
    finally:
        thread.shutdown(wait=False)


class NodeJob:
    """A job on a node, done by a process of `module`. The head sends what is missing, then follows `perform`.

    With `stored`, an attempt that the head has begun in a storage, large files go through the storage.
    """

    def __init__(self, module: str, kind: str, attempt: int, parcel: Parcel, stored: Attempt | None = None) -> None:
        self._module, self._kind, self._attempt, self._parcel = module, kind, attempt, parcel
        self._key = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._contents = Contents(node_folder() / "contents")
        self._place = node_folder() / "jobs" / self._key
        self._run = Run(self._place / parcel.name)
        self._stored = StoredAttempt(stored, parcel, self._place) if stored is not None else None
        self._child: subprocess.Popen[bytes] | None = None

    def missing(self) -> list[str]:
        """Digests of contents that neither the node nor the storage has."""
        stored = {blob.digest for blob in large_files(self._parcel).values()} if self._stored is not None else ()
        return [digest for digest in self._contents.missing(self._parcel) if digest not in stored]

    def receive(self, digest: str, data: bytes) -> None:
        """Append a block to a content."""
        self._contents.receive(digest, data, self._key)

    def finish(self, blob: Blob) -> None:
        """Store a complete content."""
        self._contents.finish(blob, self._key)

    def ask_to_stop(self, how: Stop) -> None:
        """Ask the job to end."""
        self._run.ask_to_stop(how)

    def terminate(self) -> None:
        """Pass SIGTERM on to the job."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def perform(self) -> Iterator[Report]:
        """Run the job; yields every change, and heartbeats."""
        self._sweep()
        self._run.folder.mkdir(parents=True)
        try:
            yield from with_heartbeats(self._fetch())
            places = self._contents.lay_out(self._parcel, self._run.folder)
            rewrite_settings(self._run.folder, places)
            changes = FolderChanges(self._run.folder, self._stored)
            kills = count_kills()
            self._child = self._start()
            yield from self._follow(self._child, changes)
            yield JobEnd(self._child.returncode, has_killed_since(kills))
        finally:
            if self._child is not None and self._child.poll() is None:
                self._child.kill()
                self._child.wait()
            shutil.rmtree(self._place, ignore_errors=True)
            self._contents.tidy()

    def _fetch(self) -> Iterator[Report]:
        """Copy missing contents from the storage."""
        if self._stored is None:
            return
        blobs = self._parcel.blobs()
        for digest in self._contents.missing(self._parcel):
            self._contents.fetch(blobs[digest], self._key, self._stored.storage)
            yield Alive()

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = ("--copy", str(self._run.folder), self._kind, str(self._attempt))
        with (self._run.folder / "process.log").open("ab") as log:
            return subprocess.Popen(
                python_command(self._module, *arguments),
                stdin=subprocess.PIPE,  # it ends when this is closed
                stdout=log,
                stderr=subprocess.STDOUT,
                env=python_environment(_without_ray(os.environ)),
            )

    def _follow(self, child: subprocess.Popen[bytes], changes: FolderChanges) -> Iterator[Report]:
        last_report = time.monotonic()
        while True:
            ended = child.poll() is not None  # before the last check
            for change in with_heartbeats(changes.collect()):
                yield change
                last_report = time.monotonic()
            if ended:
                return
            if time.monotonic() > last_report + ALIVE_EVERY:
                yield Alive()
                last_report = time.monotonic()
            time.sleep(LOOK_EVERY)

    def _sweep(self) -> None:
        """Delete the folders of actors that were killed."""
        import psutil

        for left in (node_folder() / "jobs").glob("*-*"):
            number = left.name.partition("-")[0]
            if number.isdecimal() and not psutil.pid_exists(int(number)):
                shutil.rmtree(left, ignore_errors=True)


def _without_ray(environment: Mapping[str, str]) -> dict[str, str]:
    """Overrides that hide the cluster's token from a job."""
    return dict.fromkeys((key for key in environment if key.startswith("RAY_AUTH")), "")
