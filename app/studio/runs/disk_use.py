"""The disk space of runs: the files in a folder, each once however many names it has there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path


def disk_use(run: Path) -> int:
    """Bytes of a run's files; measured again once a folder directly in it, or itself, has changed."""
    try:
        folders = [run, *(Path(entry) for entry in os.scandir(run) if entry.is_dir(follow_symlinks=False))]
        return _measure(run, tuple(folder.stat().st_mtime_ns for folder in folders))
    except OSError:  # moved meanwhile
        return 0


@lru_cache(5000)
def _measure(run: Path, stamp: tuple[int, ...]) -> int:
    """The bytes, read once for each `stamp` of the folders."""
    return sum({(seen.st_dev, seen.st_ino): seen.st_size for seen in _files(run)}.values())


def _files(folder: Path) -> Iterator[os.stat_result]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry))
            else:
                yield os.lstat(entry)  # on Windows, `entry.stat` has no inode
