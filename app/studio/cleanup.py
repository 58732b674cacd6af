"""Removes the public files of runs, generations and drafts that no longer exist, when a studio starts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.studio.dataset.drafts import Drafts
from app.studio.studio_queue import StudioQueue

_OF_SOMETHING = re.compile(r"[0-9a-f]{32}|[\w-]{22}")
"""The names of folders that belong to one thing; others are shared."""


def sweep_public(queue: StudioQueue, drafts: Drafts, drawings: Path) -> None:
    """Delete from the public folder what belongs to no run, no draft and none of the `drawings` any more.

    What was offered of styles that are gone the library deletes at its first look.
    """
    there = list(queue.paths.public.iterdir())  # before their owners, so that what comes meanwhile is not among them
    kept = drafts.public_names()
    for folder in (*_inside(queue.paths.runs), *_inside(drawings)):
        with suppress(FileNotFoundError):  # deleted in this moment
            kept.add(queue.public_name(folder))
    for left in there:
        if _OF_SOMETHING.fullmatch(left.name) and left.name not in kept:
            shutil.rmtree(left, ignore_errors=True)


def _inside(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("*") if path.is_dir())
