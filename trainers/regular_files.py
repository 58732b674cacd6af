"""Reads files of untrusted folders, which may hold pipes, devices and links."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Do not wait for the writer of a pipe; on Windows, do not open files as text."""


def open_inside(folder: Path, name: str) -> BinaryIO:
    """Open a regular file of a folder for reading; OSError for anything else, and for links that leave the folder."""
    path = folder / name
    if not _stays(folder, path):
        raise OSError(f"{path} leads out of its folder")
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe would never end
        os.close(descriptor)
        raise OSError(f"{path} is not a file")
    return os.fdopen(descriptor, "rb")


def read_inside(folder: Path, name: str) -> bytes:
    """The content of a regular file of a folder; OSError as `open_inside`."""
    with open_inside(folder, name) as file:
        return file.read()


def is_inside(folder: Path, path: Path) -> bool:
    """Whether a path is a regular file inside this folder, at any depth."""
    return path.is_file() and _stays(folder, path)


def _stays(folder: Path, path: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
