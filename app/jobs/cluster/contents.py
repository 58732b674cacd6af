"""A node's cache of file contents by digest, which later jobs use again."""

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
"""Size of the cache in bytes."""


def node_folder() -> Path:
    """A node's folder: `VELATURA_NODE_FOLDER`, or `velatura-node` in the user's cache folder."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("VELATURA_NODE_FOLDER") or Path(caches) / "velatura-node")


class Contents:
    """The contents on a node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def missing(self, parcel: Parcel) -> list[str]:
        """Digests of a parcel that are missing here."""
        return [digest for digest, blob in parcel.blobs().items() if not self._has(blob)]

    def receive(self, digest: str, data: bytes, writer: str) -> None:
        """Append a block to a content; `writer` identifies the sender."""
        with self._arriving(digest, writer).open("ab") as file:
            file.write(data)

    def finish(self, blob: Blob, writer: str) -> None:
        """Store a complete content. Raises VelaturaError if its digest is wrong."""
        arriving = self._arriving(blob.digest, writer)
        arriving.touch()  # an empty file has no blocks
        if digest_of(arriving) != blob:
            arriving.unlink()
            raise VelaturaError("a file arrived damaged on {node}; try again", node=os.uname().nodename)
        arriving.replace(self._folder / blob.digest)

    def fetch(self, blob: Blob, writer: str, storage: Storage) -> None:
        """Copy a content from the storage."""
        arriving = self._arriving(blob.digest, writer)
        storage.get(blob, arriving)
        arriving.replace(self._folder / blob.digest)

    def lay_out(self, parcel: Parcel, folder: Path) -> dict[str, Path]:
        """Write a job's files into a new folder and its inputs beside it; returns the inputs' paths."""
        self._put(parcel.files, folder)
        places = {}
        for number, (named, files) in enumerate(parcel.inputs.items()):
            place = folder.parent / "inputs" / str(number) / (Path(named).name or "root")
            self._put({SELF: files[SELF]} if SELF in files else files, place)
            places[named] = place
        return places

    def tidy(self, most: int = MOST) -> None:
        """Delete the least recently used contents beyond a number of bytes."""
        files = sorted(((path.stat(), path) for path in self._folder.iterdir()), key=lambda each: -each[0].st_mtime)
        total = 0
        for stat, path in files:
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
