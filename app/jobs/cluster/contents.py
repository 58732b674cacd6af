"""Contents of files on a node, under their digests: what a later job needs again need not travel again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app.jobs.cluster.parcel import APPENDED, SELF, SETTINGS, Blob, Parcel, digest_of, safe_path
from app.jobs.cluster.storage import Storage
from trainers.atomic_files import link_or_copy
from trainers.errors import VelaturaError

MOST = 50 * 10**9
"""Bytes of contents that a node keeps."""


def node_folder() -> Path:
    """A node's folder: `VELATURA_NODE_FOLDER`, or `velatura-node` in the user's folder of caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("VELATURA_NODE_FOLDER") or Path(caches) / "velatura-node")


class Contents:
    """The contents that a node has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def missing(self, parcel: Parcel) -> list[str]:
        """The digests of a parcel that are not here."""
        return [digest for digest, blob in parcel.blobs().items() if not self._has(blob)]

    def receive(self, digest: str, data: bytes, writer: str) -> None:
        """Take a piece of a content, after the ones before it; `writer` names who sends it."""
        with self._arriving(digest, writer).open("ab") as file:
            file.write(data)

    def finish(self, blob: Blob, writer: str) -> None:
        """Keep a content that is whole. Raises VelaturaError if it is not what was sent."""
        arriving = self._arriving(blob.digest, writer)
        arriving.touch()  # an empty file has no piece
        if digest_of(arriving) != blob:
            arriving.unlink()
            raise VelaturaError("a file arrived damaged on {node}; try again", node=os.uname().nodename)
        arriving.replace(self._folder / blob.digest)

    def fetch(self, blob: Blob, writer: str, storage: Storage) -> None:
        """Take a content from the storage."""
        arriving = self._arriving(blob.digest, writer)
        storage.get(blob, arriving)
        arriving.replace(self._folder / blob.digest)

    def lay_out(self, parcel: Parcel, folder: Path) -> dict[str, Path]:
        """Fill a new folder with a job's files, and one beside it with its inputs; returns the places of the inputs."""
        self._put(parcel.files, folder)
        places = {}
        for number, (named, files) in enumerate(parcel.inputs.items()):
            place = folder.parent / "inputs" / str(number) / (Path(named).name or "root")
            self._put({SELF: files[SELF]} if SELF in files else files, place)
            places[named] = place
        return places

    def tidy(self, most: int = MOST) -> None:
        """Delete what has not been used for longest, beyond a number of bytes."""
        found = sorted(((path.stat(), path) for path in self._folder.iterdir()), key=lambda each: -each[0].st_mtime)
        total = 0
        for stat, path in found:
            total += stat.st_size
            if total > most:
                path.unlink(missing_ok=True)

    def _put(self, files: Mapping[str, Blob], folder: Path) -> None:
        for name, blob in files.items():
            source, target = self._folder / blob.digest, folder if name == SELF else safe_path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if name in APPENDED or name in SETTINGS:
                shutil.copyfile(source, target)
            else:
                link_or_copy(source, target)

    def _has(self, blob: Blob) -> bool:
        place = self._folder / blob.digest
        with suppress(OSError):
            if place.stat().st_size == blob.size:
                os.utime(place)
                return True
        return False

    def _arriving(self, digest: str, writer: str) -> Path:
        return self._folder / f"{digest}.{writer}"
