"""The disk reserve: space that stays free so that runs can save."""

from __future__ import annotations

import shutil
from pathlib import Path

RESERVE = 2 * 2**30
"""Bytes that stay free, or a twentieth of a small disk: uploads are refused and the trash is emptied before."""
SMALL = 20


def reserve(folder: Path) -> int:
    """Bytes that stay free on the disk of a folder."""
    return min(RESERVE, shutil.disk_usage(folder).total // SMALL)


def room(folder: Path) -> int:
    """Bytes that may still be written to the disk of a folder; 0 if only the reserve is left."""
    return max(0, shutil.disk_usage(folder).free - reserve(folder))


def missing(folder: Path) -> int:
    """Bytes by which the free part of a folder's disk falls short of the reserve."""
    return max(0, reserve(folder) - shutil.disk_usage(folder).free)
