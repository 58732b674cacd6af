"""Files that are written whole or not at all, on the disk when they have their name, and refusals to write in words."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainers.errors import DISK_FULL, FORBIDDEN, FULL, VelaturaError

IN_USE = (5, 32)
"""What Windows says of a file that another process has open: access denied, sharing violation."""
PAUSES = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.4)
"""Seconds to wait before each further try to replace such a file."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, moved there when the block ends without an error; else nothing is left.

    What was written is on the disk before the name is, so that a power cut leaves the old file or the new one, and the
    new one once the block has ended.
    """
    whose = f"{os.getpid()}-{threading.get_ident()}"
    building = path.with_name(f".unfinished-{whose}-{path.name}")  # with the suffix that says the format
    try:
        yield building
        sync_file(building)
        take_place(building, path)
        sync_folder(path.parent)
    finally:
        building.unlink(missing_ok=True)


def take_place(building: Path, path: Path) -> None:
    """Rename a file to `path`; on Windows, which refuses that while the one there is read, try again for a second."""
    for pause in PAUSES:
        try:
            building.replace(path)
            return
        except OSError as error:
            if getattr(error, "winerror", None) not in IN_USE:
                raise
            time.sleep(pause)
    building.replace(path)


def sync_file(path: Path) -> None:
    """Wait until what was written to a file is on the disk."""
    with path.open("r+b" if os.name == "nt" else "rb") as file:  # Windows syncs nothing that was opened for reading
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk, on systems that can be asked for that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until a folder and all that is in it are on the disk, but for files that may not be opened.

    Those were not written here: they are hard links, or on Windows write-protected copies.
    """
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            with suppress(PermissionError):
                sync_file(path)
    sync_folder(folder)


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse, before anything is done, to write a file where something is in the way."""
    if path.is_dir():
        raise VelaturaError(f"{path} is a folder; give the name of a file as --out")
    if path.exists() and not overwrite:
        raise VelaturaError(f"{path} exists already; give another --out, or --overwrite to replace it")
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise VelaturaError(f"cannot write {path}: {parent} is a file, not a folder")


@contextmanager
def plain_disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals to write into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            sentence = f"the disk is full: no room to write under {path.parent}"
            raise VelaturaError(sentence, code=DISK_FULL) from error
        if error.errno in FORBIDDEN:
            raise VelaturaError(f"no permission to write under {path.parent}") from error
        raise
