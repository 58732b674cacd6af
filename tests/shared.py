"""Folders that several workers use and one of them makes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

WORKER = "PYTEST_XDIST_WORKER"
"""Environment variable of each of several workers that run tests."""


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder of a whole session, not to be written to: `make(folder)` fills it in the worker that comes first."""
    root = factory.getbasetemp()
    if WORKER in os.environ:
        root = root.parent  # each worker has a folder of its own in the session's
    target, building = root / name, root / f"{name}.unfinished"
    with FileLock(root / f"{name}.lock"):
        if not target.exists():
            make(building)
            building.rename(target)
    return target
