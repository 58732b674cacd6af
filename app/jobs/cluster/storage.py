"""Object storage between a head and its nodes, any that fsspec opens: `s3://…`, `file://…`.

    contents/DIGEST             a file's content, put once and never changed
    manifests/KIND/NAME/NUMBER  which contents an attempt at a job has (`manifests.py`)

Objects are never renamed or appended to. Access keys come from each machine's own settings (`AWS_…`, fsspec's
configuration) and appear in no job and no message.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from app.jobs.cluster.parcel import Blob, digest_of
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError
from trainers.messages import Message as _

VARIABLE = "VELATURA_CLUSTER_STORAGE"
"""Environment variable with the storage, for processes on the head."""
FILE = ".cluster-storage"
"""File in the folder of runs with the name of its folder in a shared storage."""
LARGE = 2**16
"""Bytes from which a file goes through the storage."""
KEPT = 3 * 24 * 3600.0
"""Seconds for which unused contents are kept."""
PATIENCE = 600.0
"""Seconds of retries while a storage cannot be reached; runs go on meanwhile."""
CHECKED = 10.0
"""Seconds of retries when the studio starts."""
PAUSES = (0.5, 30.0)
"""Seconds before the first retry, and at most; each pause is twice as long as the last."""
CONTENTS, MANIFESTS = "contents", "manifests"
EXTRA = _("storage on S3 needs s3fs; install it with: pip install s3fs")
UNKNOWN = _("{url!r} is not the address of a storage; write s3://BUCKET/FOLDER")
WITH_KEYS = _("the address of a storage must not hold access keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
LOST = _("the storage {url} cannot be used: {reason}")
UNCONDITIONAL = _("the storage {url} cannot be used: it overwrites what is there although asked not to (If-None-Match)")
DAMAGED = _("a file in the storage {url} was damaged and has been removed; try again")
Result = TypeVar("Result")


class Storage:
    """The contents and manifests of one folder of runs. Its methods raise VelaturaError if the storage is lost."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.url, self._patience = url, patience
        self._files, self._root = _open(url)
        self._errors, self._lasting = _errors(url)

    def check(self) -> None:
        """Raise VelaturaError if the storage refuses writes, or overwrites despite `If-None-Match`."""
        name = f"probe-{secrets.token_hex(8)}"
        self.create(name, b"")
        overwritten = self.create(name, b"")
        self.remove(name)
        if overwritten:
            raise VelaturaError(UNCONDITIONAL.format(url=self.url))

    def put(self, blob: Blob, path: Path) -> None:
        """Upload the content of a file unless it is stored.

        An old content is uploaded again, so that `tidy` keeps it.
        """
        place = self._place(f"{CONTENTS}/{blob.digest}")
        info = self._persist(lambda: self._find(place))
        if info is None or info["size"] != blob.size or age(info) > KEPT / 2:
            self._persist(lambda: self._files.put_file(str(path), place))

    def get(self, blob: Blob, target: Path) -> None:
        """Download a content into a file. Raises VelaturaError if it is damaged."""
        place = self._place(f"{CONTENTS}/{blob.digest}")
        self._persist(lambda: self._files.get_file(place, str(target)))
        if digest_of(target) != blob:
            target.unlink()
            self._persist(lambda: self._files.rm_file(place))
            raise VelaturaError(DAMAGED.format(url=self.url))

    def create(self, name: str, data: bytes) -> bool:
        """Create a small object; False if it exists."""
        place = self._place(name)
        try:
            self._persist(lambda: self._files.pipe_file(place, data, mode="create"))
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """The bytes of a small object."""
        return self._persist(lambda: self._files.cat_file(self._place(name)))

    def remove(self, name: str) -> None:
        """Remove an object if it exists."""

        def remove() -> None:
            try:
                self._files.rm_file(self._place(name))
            except FileNotFoundError:
                return

        self._persist(remove)

    def names(self, folder: str) -> Iterator[tuple[str, float]]:
        """All objects below a folder by name, with their ages in seconds."""
        place = self._place(folder)
        objects = self._persist(lambda: self._files.find(place, detail=True))
        for path in sorted(objects):
            yield f"{folder}/{path[len(place) + 1 :]}", age(objects[path])

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _find(self, place: str) -> dict[str, Any] | None:
        try:
            return self._files.info(place)
        except FileNotFoundError:
            return None

    def _persist(self, do: Callable[[], Result]) -> Result:
        """Call a function, with retries while the storage cannot be reached."""
        until, pause = time.monotonic() + self._patience, PAUSES[0]
        while True:
            try:
                return do()
            except FileExistsError:
                raise
            except self._errors as error:
                if isinstance(error, self._lasting) or time.monotonic() + pause > until:
                    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                    raise VelaturaError(LOST.format(url=self.url, reason=reason)) from error
            time.sleep(pause)
            pause = min(2 * pause, PAUSES[1])


def own_folder(url: str, runs: Path) -> str:
    """The address of a queue's own folder in a storage. Raises VelaturaError for an address with keys."""
    if "@" in url:
        raise VelaturaError(WITH_KEYS)
    path = runs / FILE
    if not path.is_file():
        runs.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as building:
            building.write_text(secrets.token_hex(8), encoding="ascii")
    return f"{url.rstrip('/')}/{path.read_text(encoding='ascii').strip()}"


def given_storage() -> Storage | None:
    """The storage in this process's environment, if any."""
    return Storage(url) if (url := os.environ.get(VARIABLE)) else None


def age(info: dict[str, Any]) -> float:
    """Seconds since an object was written, by fsspec's info."""
    written = next((info[key] for key in ("LastModified", "mtime", "created") if info.get(key)), time.time())
    return time.time() - (written.timestamp() if isinstance(written, datetime) else float(written))


def _open(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    if "://" not in url:
        raise VelaturaError(UNKNOWN.format(url=url))
    options = {"auto_mkdir": True} if url.startswith(("file://", "local://")) else {}
    try:
        files, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **options)
    except ImportError:
        raise VelaturaError(EXTRA) from None
    except ValueError as error:
        raise VelaturaError(UNKNOWN.format(url=url)) from error
    return files, str(root).rstrip("/")


def _errors(url: str) -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """Errors of a file system, and those that retries do not help."""
    failed: tuple[type[Exception], ...] = (OSError,)
    lasting: tuple[type[Exception], ...] = (FileNotFoundError, PermissionError, NotImplementedError)
    if url.startswith(("s3://", "s3a://")):
        from aiohttp import ClientError
        from botocore.exceptions import BotoCoreError, NoCredentialsError

        failed, lasting = (*failed, BotoCoreError, ClientError), (*lasting, NoCredentialsError)
    return failed, lasting
