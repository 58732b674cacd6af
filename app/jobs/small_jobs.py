"""The small jobs that need a device, in the same line as the runs: an estimate, captions, pictures.

Each finds what it is asked for in its folder, leaves its results there and tells its events how far it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.jobs.actions import new_folder
from app.jobs.job import Job, NewJob
from app.jobs.store import Store
from trainers.files import whole_file

ESTIMATE, CAPTION, GENERATE = "estimate", "caption", "generate"
AHEAD = 10
"""Priority of small jobs; that of runs is 0."""
REQUEST = "request.json"
"""File in a job's folder with what it is asked for."""
PICTURE, PLAIN = "picture.png", "plain.png"
"""What a generation leaves in its folder: the picture, and the same without styles."""
EACH = "picture-{}.png"
"""What it leaves instead of the picture where every style draws its own, numbered from 1."""


def add_small_job(
    store: Store,
    kind: str,
    request: BaseModel,
    owner: str = "",
    wants: str = "auto",
    folder: Path | None = None,
    priority: int = AHEAD,
) -> Job:
    """Put a small job in line, in `folder`, or in one that is as short-lived as the job.

    It goes before the runs unless given another priority: nobody waits hours for a picture.
    """
    folder = folder or new_folder(store, kind)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / REQUEST) as building:
        building.write_text(request.model_dump_json(), encoding="utf-8")
    return store.add(NewJob(kind, folder, (), Path.cwd(), owner, wants, priority))


def read_table(folder: Path) -> dict[str, Any]:
    """What a small job is asked for, as it stands in its folder; empty where that cannot be read."""
    try:
        table = json.loads((folder / REQUEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
