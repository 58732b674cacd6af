"""Small jobs that need a device, in the same queue as the runs: estimates, captions, pictures.

Each reads its request from its folder, writes its results there and reports progress in its events.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from app.jobs.actions import new_folder
from app.jobs.job import REQUEST, Job, NewJob
from app.jobs.store import Store
from trainers.atomic_files import whole_file

AHEAD = 10
"""Priority of small jobs; that of runs is 0."""
PICTURE, PLAIN = "picture.png", "plain.png"
"""Files of a generation: the picture, and the same picture without styles."""
EACH = "picture-{}.png"
"""Files of several pictures, numbered from 1 row by row."""
OVERVIEW = "sheet.png"
"""File of a labelled contact sheet."""
ROUGH = "rough-{}.webp"
"""Files of previews while pictures are drawn, numbered from 0."""


def add_small_job(
    store: Store,
    kind: str,
    request: BaseModel,
    owner: str = "",
    wants: str = "auto",
    folder: Path | None = None,
    priority: int = AHEAD,
) -> Job:
    """Queue a small job, in `folder` or in a temporary one.

    By default it goes before the runs. LimitError if too many of its owner's small jobs wait.
    """
    store.check_waiting(owner, kind)
    folder = folder or new_folder(store, kind)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / REQUEST) as building:
        building.write_text(request.model_dump_json(), encoding="utf-8")
    return store.add(NewJob(kind, folder, (), Path.cwd(), owner, wants, priority))
