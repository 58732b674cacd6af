"""Small files in a run's folder that hold what people chose or wrote about it, as JSON tables."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from trainers.atomic_files import plain_disk_errors, whole_file
from trainers.regular_files import read_inside


def read_table(run: Path, name: str) -> dict[str, Any]:
    """A file's table; empty if it is missing or damaged."""
    try:
        content = json.loads(read_inside(run, name))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def changing(run: Path, name: str) -> Iterator[None]:
    """Keep others from changing a file between reading and writing it. VelaturaError if the disk refuses."""
    with plain_disk_errors(run / name):
        if not run.is_dir():  # the lock would make it again
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(run))
        with FileLock(run / f".{name}.lock", is_singleton=True):
            yield


def write_table(run: Path, name: str, table: Mapping[str, Any]) -> None:
    """Replace a file; call it within `changing`."""
    with whole_file(run / name) as building:
        building.write_text(json.dumps(table), encoding="utf-8")
