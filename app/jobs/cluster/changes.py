"""Sends changes of a job's folder on a node to the head, and makes them there.

A node sends files before the events that mention them, and a file only when it is complete. The head renames each file
or new folder into place, so that readers see a remote run as they would see a local one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.jobs.cluster.manifests import StoredAttempt
from app.jobs.cluster.parcel import APPENDED, BLOCK, SETTINGS, Blob, list_files, safe_path
from app.jobs.cluster.storage import LARGE, Storage
from trainers.atomic_files import replace_file, sync_file, sync_folder

INCOMING = ".incoming"
"""Folder of incomplete files in a job's folder on the head."""


@dataclass(frozen=True)
class Content:
    """The next block of a file."""

    path: str
    data: bytes


@dataclass(frozen=True)
class Stored:
    """A file whose content is in the storage."""

    path: str
    blob: Blob


@dataclass(frozen=True)
class Appended:
    """Whole lines that were appended to a file."""

    path: str
    data: bytes


@dataclass(frozen=True)
class Removed:
    """A file that was deleted."""

    path: str


@dataclass(frozen=True)
class Arrived:
    """Every file sent since the last `Arrived` is complete."""


Change = Content | Stored | Appended | Removed | Arrived
Stamp = tuple[int, int, int]


class FolderChanges:
    """Follows a job's folder on a node; large files go into the storage if there is one."""

    def __init__(self, folder: Path, stored: StoredAttempt | None = None) -> None:
        self._folder, self._stored = folder, stored
        self._lengths = {name: _size(folder / name) for name in APPENDED}
        self._known = {name: _stamp(path) for name, path in self._files()}

    def collect(self) -> Iterator[Change]:
        """The changes since the last call. Raises FencedError if a later attempt at the job has begun."""
        ends = {name: self._whole_length(name) for name in APPENDED}  # before the files that these lines mention
        files = dict(self._files())
        sent = False
        for name, path in files.items():
            try:
                with path.open("rb") as file:
                    stamp = _stamp_of(os.fstat(file.fileno()))
                    if self._known.get(name) == stamp:
                        continue
                    if self._stored is not None and stamp[0] >= LARGE:
                        yield Stored(name, self._stored.put(name, path))
                    else:
                        yield Content(name, file.read(BLOCK))
                        while block := file.read(BLOCK):
                            yield Content(name, block)
            except FileNotFoundError:  # deleted meanwhile
                continue
            self._known[name] = stamp
            sent = True
        if sent:
            if self._stored is not None:
                self._stored.seal()
            yield Arrived()
        for name in [name for name in self._known if name not in files]:
            del self._known[name]
            if self._stored is not None:
                self._stored.drop(name)
            yield Removed(name)
        for name, end in ends.items():
            yield from self._tail(name, end)

    def _files(self) -> Iterator[tuple[str, Path]]:
        for name, path in list_files(self._folder):
            if name not in APPENDED and name not in SETTINGS:
                yield name, path

    def _whole_length(self, name: str) -> int:
        """Length of a growing file up to its last whole line."""
        begin, path = self._lengths[name], self._folder / name
        if _size(path) <= begin:
            return begin
        with path.open("rb") as file:
            file.seek(begin)
            return begin + file.read().rfind(b"\n") + 1

    def _tail(self, name: str, end: int) -> Iterator[Change]:
        begin = self._lengths[name]
        if end > begin:
            with (self._folder / name).open("rb") as file:
                file.seek(begin)
                while begin < end and (block := file.read(min(BLOCK, end - begin))):
                    begin += len(block)
                    yield Appended(name, block)
        self._lengths[name] = begin


class FolderCopy:
    """Makes the changes of a node in a job's folder on the head."""

    def __init__(self, folder: Path, storage: Storage | None = None) -> None:
        self._folder, self._storage = folder, storage
        self._incoming = folder / INCOMING
        self._begun: set[str] = set()
        shutil.rmtree(self._incoming, ignore_errors=True)  # of a process that was killed

    def apply(self, change: Change) -> None:
        """Make a change; ValueError for a path that leads out of the folder."""
        match change:
            case Content(path, data):
                self._add(path, data)
            case Stored(path, blob):
                assert self._storage is not None  # the node got its address from here
                self._storage.get(blob, self._arriving(path))
            case Arrived():
                _move_into(self._incoming, self._folder)
                self._begun.clear()
            case Appended(path, data):
                with safe_path(self._folder, path).open("ab") as file:
                    file.write(data)
            case Removed(path):
                self._remove(safe_path(self._folder, path))

    def _add(self, path: str, data: bytes) -> None:
        with self._arriving(path).open("ab" if path in self._begun else "wb") as file:
            file.write(data)
        self._begun.add(path)

    def _arriving(self, path: str) -> Path:
        target = safe_path(self._incoming, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _remove(self, target: Path) -> None:
        target.unlink(missing_ok=True)
        parent = target.parent
        while parent != self._folder and parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent


def _move_into(source: Path, target: Path) -> None:
    """Rename the contents of a folder into another one; a new folder moves as a whole."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move_into(entry, place)
            continue
        for path in entry.rglob("*") if entry.is_dir() else (entry,):
            if path.is_file():
                sync_file(path)
        if entry.is_dir():
            entry.rename(place)
        else:
            replace_file(entry, place)
    source.rmdir()
    sync_folder(target)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _stamp(path: Path) -> Stamp:
    return _stamp_of(path.stat())


def _stamp_of(stat: os.stat_result) -> Stamp:
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
