"""Numbered manifests of the contents that an attempt at a job has stored; each is created only if its number is free.

An attempt takes the next number first. If an earlier attempt wakes up on a frozen node, its own next number is taken,
and it ends.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from app.jobs.cluster.parcel import APPENDED, Blob, Parcel, digest_of
from app.jobs.cluster.storage import CONTENTS, KEPT, LARGE, MANIFESTS, Storage
from trainers.atomic_files import link_or_copy
from trainers.errors import VelaturaError
from trainers.messages import Message as _

FENCED = _("a later attempt at the job has begun; this one may not write any more")


class FencedError(VelaturaError):
    """A later attempt at the job has begun."""


@dataclass(frozen=True)
class Attempt:
    """An attempt at a job, with the place of its manifests."""

    url: str
    """Address of the storage."""
    job: str
    """Folder of the job's manifests."""
    attempt: int
    number: int
    """Number of its first manifest."""


def begin_attempt(storage: Storage, kind: str, number: int, parcel: Parcel, places: Mapping[str, Path]) -> Attempt:
    """Store the large contents of a parcel, then begin an attempt at its job."""
    files = large_files(parcel)
    for blob in files.values():
        storage.put(blob, places[blob.digest])
    job = job_key(kind, parcel.name)
    while True:
        last = max((_number(name) for name, _ in storage.names(f"{MANIFESTS}/{job}")), default=0)
        if storage.create(_name(job, last + 1), _manifest(number, files)):
            return Attempt(storage.url, job, number, last + 1)


def job_key(kind: str, name: str) -> str:
    """The folder of a job's manifests."""
    return f"{kind}/{quote(name, safe='')}"


def large_files(parcel: Parcel) -> dict[str, Blob]:
    """The files of a parcel that travel by the storage, by path, or by the number of an input.

    Small files are sent faster than they are looked up; growing files change before they are stored.
    """
    inputs = {
        f"inputs/{place}/{name}": blob
        for place, files in enumerate(parcel.inputs.values())
        for name, blob in files.items()
    }
    files = {**parcel.files, **inputs}
    return {name: blob for name, blob in files.items() if blob.size >= LARGE and name not in APPENDED}


class StoredAttempt:
    """The files that an attempt stores from its node."""

    def __init__(self, attempt: Attempt, parcel: Parcel, folder: Path) -> None:
        self._attempt, self._number = attempt, attempt.number
        self._files = large_files(parcel)
        self._folder = folder

    @cached_property
    def storage(self) -> Storage:
        """The storage, opened when it is first used: Ray does not pass on the errors of a new actor."""
        return Storage(self._attempt.url)

    def put(self, name: str, path: Path) -> Blob:
        """Store a file of the job's folder; the next manifest names it."""
        held = self._folder / "stored"  # the file may be replaced at any time
        held.unlink(missing_ok=True)
        link_or_copy(path, held)
        blob = digest_of(held)
        self.storage.put(blob, held)
        held.unlink()
        self._files[name] = blob
        return blob

    def drop(self, name: str) -> None:
        """Leave a deleted file out of the next manifest."""
        self._files.pop(name, None)

    def seal(self) -> None:
        """Write the next manifest. Raises FencedError if a later attempt has begun."""
        self._number += 1
        name, data = _name(self._attempt.job, self._number), _manifest(self._attempt.attempt, self._files)
        if not self.storage.create(name, data) and self.storage.read(name) != data:  # ours, if the answer was lost
            raise FencedError(FENCED)


def tidy(storage: Storage, active: Collection[str]) -> int:
    """Remove old manifests and old contents that no active job needs; returns the number of contents."""
    last = {str(PurePosixPath(name).parent): name for name, _ in storage.names(MANIFESTS)}
    needed = {name for folder, name in last.items() if folder.removeprefix(f"{MANIFESTS}/") in active}
    named = {digest for name in needed for digest in _digests(storage.read(name))}
    for name, age in storage.names(MANIFESTS):
        if age > KEPT and name not in needed:
            storage.remove(name)
    old = [name for name, age in storage.names(CONTENTS) if age > KEPT and PurePosixPath(name).name not in named]
    for name in old:
        storage.remove(name)
    return len(old)


def _manifest(attempt: int, files: Mapping[str, Blob]) -> bytes:
    table = {name: [blob.digest, blob.size] for name, blob in files.items()}
    return json.dumps({"attempt": attempt, "files": table}, sort_keys=True).encode()


def _digests(manifest: bytes) -> Iterator[str]:
    return (digest for digest, _ in json.loads(manifest)["files"].values())


def _name(job: str, number: int) -> str:
    return f"{MANIFESTS}/{job}/{number:08}"


def _number(name: str) -> int:
    return int(PurePosixPath(name).name)
