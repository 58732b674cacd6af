"""Small files in a run's folder that hold what people chose or wrote about it, as JSON tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from app.studio.paths import Paths
from trainers.atomic_files import plain_disk_errors, whole_file
from trainers.regular_files import read_inside


def read_table(run: Path, name: str) -> dict[str, Any]:
    """A file's table; empty if it is missing or damaged."""
    try:
        content = json.loads(read_inside(run, name))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def lock_of(runs: Path) -> Path:
    """The lock of the writers, whose time is that of the last change."""
    return Paths(runs).root / "choices.lock"


@contextmanager
def changing(run: Path) -> Iterator[None]:
    """Keep others from changing a run's files between reading and writing them. VelaturaError if the disk refuses."""
    lock = lock_of(run.parent)
    with plain_disk_errors(run), FileLock(lock, is_singleton=True):
        yield
        lock.touch()


def write_table(run: Path, name: str, table: Mapping[str, Any]) -> None:
    """Replace a file; call it within `changing`."""
    with whole_file(run / name) as building:
        building.write_text(json.dumps(table), encoding="utf-8")
