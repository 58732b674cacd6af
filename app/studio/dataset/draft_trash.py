"""Moves released pictures of a draft to the trash, and back to the end of the same draft.

    DRAFT/loose/ID/pictures.json   their names, captions and sizes
    DRAFT/loose/ID/PICTURE.png
    DRAFT/loose/ID/PICTURE-KEY.png  its mask, if it has one

`loose` holds them on the way to the trash and back. After a kill, its contents return too.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.jobs.store import Store
from app.jobs.trash.trash import CONTENT, PICTURES, Trash, TrashItem, new_id, new_item
from app.units import counted
from trainers.atomic_files import whole_file

LOOSE, KNOWN, MASKS = "loose", "pictures.json", "masks"
SEVERAL = re.compile(r"([0-9]{1,9}) pictures")
"""The name of an item that holds several pictures."""


def throw_away(runs: Path, folder: Path, pictures: Path, gone: Sequence[dict[str, Any]], owner: str) -> None:
    """Move the files of the pictures `gone` out of a draft's `folder` into its owner's trash.

    On VelaturaError and OSError they stay in place, or in `loose`.
    """
    gone = [picture for picture in gone if (pictures / f"{picture['id']}.png").is_file()]
    if not gone:
        return
    place = folder / LOOSE / new_id()
    place.mkdir(mode=0o700, parents=True)
    with whole_file(place / KNOWN) as building:
        building.write_text(json.dumps(gone, ensure_ascii=False), encoding="utf-8")
    for picture in gone:
        (pictures / f"{picture['id']}.png").rename(place / f"{picture['id']}.png")
        with suppress(FileNotFoundError):
            (folder / MASKS / _mask(picture)).rename(place / _mask(picture))
    name = str(gone[0]["name"]) if len(gone) == 1 else counted(len(gone), "picture")
    Trash(Store(runs)).put(new_item(PICTURES, name, owner, {CONTENT: place}, runs.absolute()))


def shown_name(item: TrashItem) -> str:
    """The displayed name of an item; for several pictures, their number."""
    match = SEVERAL.fullmatch(item.name) if item.kind == PICTURES else None
    return counted(int(match[1]), "picture") if match else item.name


def returned(folder: Path) -> list[Path]:
    """Folders of pictures that were restored to the draft in `folder` and are not in it yet."""
    return sorted(place for place in (folder / LOOSE).glob("*") if place.is_dir())


def take_back(places: Sequence[Path], pictures: Path, masks: Path) -> Iterator[dict[str, Any]]:
    """Move the files of restored pictures to those of their draft; yields the values of each, at least its id.

    Their folders stay until the draft is written. Idempotent.
    """
    for place in places:
        try:
            known = json.loads((place / KNOWN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = [{"id": path.stem} for path in sorted(place.glob("*.png")) if "-" not in path.stem]
        for picture in known:
            if (coming := place / f"{picture['id']}.png").is_file():
                coming.rename(pictures / coming.name)
            with suppress(FileNotFoundError):
                (place / _mask(picture)).rename(masks / _mask(picture))
            if (pictures / f"{picture['id']}.png").is_file():
                yield picture


def _mask(picture: dict[str, Any]) -> str:
    """The file name of a picture's mask; the file may be missing."""
    return f"{picture['id']}-{picture.get('mask') or None}.png"


def forget(places: Sequence[Path]) -> None:
    """Remove the folders of pictures that are in their draft again."""
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
