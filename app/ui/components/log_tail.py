"""The end of a log file, as pages show it."""

from __future__ import annotations

from os import SEEK_END
from pathlib import Path

from trainers.regular_files import open_inside

LOG_LINES, LOG_BYTES = 200, 64 * 1024


def tail(folder: Path, name: str) -> str:
    """The last lines of a file; "" if it does not exist."""
    try:
        with open_inside(folder, name) as file:
            file.seek(max(0, file.seek(0, SEEK_END) - LOG_BYTES))
            data = file.read()
    except OSError:
        return ""
    return "\n".join(data.decode("utf-8", "replace").splitlines()[-LOG_LINES:])
