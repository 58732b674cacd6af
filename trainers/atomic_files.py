"""Atomic, synced file writes, and readable errors about them."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainers.errors import DISK_FULL, FORBIDDEN, FULL, VelaturaError

IN_USE = (5, 32)
"""Windows errors of a file that another process has open: access denied, sharing violation."""
PAUSES = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.4)
"""Seconds to wait before each further try to replace such a file."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block ends without an error, and is deleted otherwise.

    The content is synced before the rename, so a power cut leaves the old or the new file, and the new one once the
    block has ended.
    """
    writer = f"{os.getpid()}-{threading.get_ident()}"
    building = path.with_name(f".unfinished-{writer}-{path.name}")  # libraries read the format from the suffix
    try:
        yield building
        sync_file(building)
        replace_file(building, path)
        sync_folder(path.parent)
    finally:
        building.unlink(missing_ok=True)


def replace_file(building: Path, path: Path) -> None:
    """Rename a file to `path`; retry for a second on Windows, which refuses this while the target is read."""
    for pause in PAUSES:
        try:
            building.replace(path)
            return
        except OSError as error:
            if getattr(error, "winerror", None) not in IN_USE:
                raise
            time.sleep(pause)
    building.replace(path)


def link_or_copy(file: Path | str, target: Path | str) -> None:
    """Hard-link a file that is only ever replaced; copy it on disks without hard links."""
    try:
        os.link(file, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(file, target)


def sync_file(path: Path) -> None:
    """Sync a file."""
    with path.open("r+b" if os.name == "nt" else "rb") as file:  # Windows syncs only files open for writing
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries, if the system supports it."""
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
    """Sync a folder with its contents, except files that cannot be opened.

    Those were not written here: they are hard links or, on Windows, write-protected.
    """
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            with suppress(PermissionError):
                sync_file(path)
    sync_folder(folder)


def check_free(path: Path, overwrite: bool) -> None:
    """Raise VelaturaError if something is in the way of a new file."""
    if path.is_dir():
        raise VelaturaError("{path} is a folder; give a file name for --out", path=path)
    if path.exists() and not overwrite:
        raise VelaturaError("{path} already exists; choose another --out, or replace it with --overwrite", path=path)
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise VelaturaError("cannot write {path}: {parent} is a file, not a folder", path=path, parent=parent)


@contextmanager
def plain_disk_errors(path: Path) -> Iterator[None]:
    """Raise VelaturaError for a full, read-only or forbidden disk."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise VelaturaError(
                "the disk is full: no room to write under {parent}", parent=path.parent, code=DISK_FULL
            ) from error
        if error.errno == errno.EROFS:
            raise VelaturaError(
                "the disk is read-only: nothing can be written under {parent}", parent=path.parent
            ) from error
        if error.errno in FORBIDDEN:
            raise VelaturaError("no permission to write under {parent}", parent=path.parent) from error
        raise


def link_tree(source: Path, target: Path) -> None:
    """Copy a folder, with hard links to the same files where possible."""
    shutil.copytree(source, target, copy_function=link_or_copy)
