"""What a run's draft knew and its config does not: the chosen preset and aim, and its pictures' file names."""

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
    """The name of the person's own preset; "" for none."""
    changed: int = 0
    """Settings that were changed by hand."""
    aim: str = ""
    names: tuple[str, ...] = ()
    """File names of its pictures, with folders, in the order of the run's images."""

    def name_of(self, image: Path) -> str:
        """The name under which an image of the run, such as `0001.png`, was added; its own if that is not known."""
        number = image.stem[:4]
        place = int(number) - 1 if number.isdecimal() else -1
        return self.names[place] if 0 <= place < len(self.names) else image.name


def write_origin(run: Path, draft: Draft) -> None:
    """Keep what a run's draft knows; a run without it is as good otherwise."""
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
    """What is kept of a run's draft; empty if nothing is."""
    try:
        return Origin.model_validate(json.loads(read_inside(run, FILE)))
    except (OSError, ValueError, RecursionError, ValidationError):
        return Origin()
