"""A job on a node of a cluster: the Ray actor that does it in a copy of its folder and reports every change.

It lives as long as the head's process of the job. Nothing on a node writes to the head's disk, so a node that was taken
for dead and comes back changes nothing there.
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
"""Seconds between looks at a job's folder."""
ALIVE_EVERY = 1.0
"""Seconds between signs of life."""


@dataclass(frozen=True)
class Alive:
    """A sign of life."""


@dataclass(frozen=True)
class Ended:
    """The end of the job's process."""

    code: int
    """Its exit code, negative for a signal."""
    lacked_memory: bool
    """Whether the system killed it, or another process, for want of memory."""


Report = Change | Alive | Ended


def with_signs_of_life(reports: Iterator[Report]) -> Iterator[Report]:
    """The reports, and signs of life while the storage keeps the next one waiting."""
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

    With a storage, where the head has begun the attempt `stored`, large files travel by it in both directions.
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
        """The digests of the contents that the node lacks and does not find in the storage."""
        stored = {blob.digest for blob in large_files(self._parcel).values()} if self._stored is not None else ()
        return [digest for digest in self._contents.missing(self._parcel) if digest not in stored]

    def receive(self, digest: str, data: bytes) -> None:
        """Take a piece of a content."""
        self._contents.receive(digest, data, self._key)

    def finish(self, blob: Blob) -> None:
        """Keep a content that is whole."""
        self._contents.finish(blob, self._key)

    def ask_to_stop(self, how: Stop) -> None:
        """Ask the job to end."""
        self._run.ask_to_stop(how)

    def terminate(self) -> None:
        """Pass SIGTERM on to the job."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def perform(self) -> Iterator[Report]:
        """Do the job; yields every change, and signs of life."""
        self._sweep()
        self._run.folder.mkdir(parents=True)
        try:
            yield from with_signs_of_life(self._fetch())
            places = self._contents.lay_out(self._parcel, self._run.folder)
            rewrite_settings(self._run.folder, places)
            changes = FolderChanges(self._run.folder, self._stored)
            kills = count_kills()
            self._child = self._start()
            yield from self._follow(self._child, changes)
            yield Ended(self._child.returncode, has_killed_since(kills))
        finally:
            if self._child is not None and self._child.poll() is None:
                self._child.kill()
                self._child.wait()
            shutil.rmtree(self._place, ignore_errors=True)
            self._contents.tidy()

    def _fetch(self) -> Iterator[Report]:
        """Take what is missing from the storage."""
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
        said = time.monotonic()
        while True:
            ended = child.poll() is not None  # before the last look
            for change in with_signs_of_life(changes.collect()):
                yield change
                said = time.monotonic()
            if ended:
                return
            if time.monotonic() > said + ALIVE_EVERY:
                yield Alive()
                said = time.monotonic()
            time.sleep(LOOK_EVERY)

    def _sweep(self) -> None:
        """Delete the folders of actors that were killed."""
        import psutil

        for left in (node_folder() / "jobs").glob("*-*"):
            number = left.name.partition("-")[0]
            if number.isdecimal() and not psutil.pid_exists(int(number)):
                shutil.rmtree(left, ignore_errors=True)


def _without_ray(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a job may see: without the cluster's token."""
    return dict.fromkeys((key for key in environment if key.startswith("RAY_AUTH")), "")
