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
"""Names of folders that belong to one run, generation or draft; others are shared."""


def sweep_public(queue: StudioQueue, drafts: Drafts, drawings: Path) -> None:
    """Delete public files whose run, draft or generation (in `drawings`) no longer exists.

    The style library deletes those of missing styles itself.
    """
    folders = list(queue.paths.public.iterdir())  # before the owners are listed: new folders stay
    kept = drafts.public_names()
    for folder in (*_inside(queue.paths.runs), *_inside(drawings)):
        with suppress(FileNotFoundError):  # deleted meanwhile
            kept.add(queue.public_name(folder))
    for left in folders:
        if _OF_SOMETHING.fullmatch(left.name) and left.name not in kept:
            shutil.rmtree(left, ignore_errors=True)


def _inside(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("*") if path.is_dir())
