"""Facts about a run's draft that its config lacks: preset, aim, and file names of its pictures."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from app.studio.dataset.drafts import Draft
from app.studio.settings.plan import changed_by_hand
from trainers.atomic_files import whole_file
from trainers.regular_files import read_inside

FILE = "origin.json"
"""File in a run's folder; runs from elsewhere have none."""


class Origin(BaseModel):
    """The draft of a run."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    preset: str = ""
    own_preset: str = ""
    """Name of the person's own preset; may be empty."""
    changed: int = 0
    """Number of settings changed by hand."""
    aim: str = ""
    names: tuple[str, ...] = ()
    """File names of its pictures, with folders, in the order of the run's images."""

    def name_of(self, image: Path) -> str:
        """The original name of an image of the run, such as `0001.png`; its own if unknown."""
        number = image.stem[:4]
        place = int(number) - 1 if number.isdecimal() else -1
        return self.names[place] if 0 <= place < len(self.names) else image.name


def write_origin(run: Path, draft: Draft) -> None:
    """Write the origin of a run; not essential."""
    kept = Origin(
        preset=draft.choices.preset,
        own_preset=draft.choices.own_preset,
        changed=len(changed_by_hand(draft.choices)),
        aim=draft.choices.aim,
        names=tuple(picture.name for picture in draft.pictures),
    )
    with suppress(OSError), whole_file(run / FILE) as building:
        building.write_text(kept.model_dump_json(), encoding="utf-8")


def read_origin(run: Path) -> Origin:
    """The origin of a run; empty without a file."""
    try:
        return Origin.model_validate(json.loads(read_inside(run, FILE)))
    except (OSError, ValueError, RecursionError, ValidationError):
        return Origin()
