"""Pictures that a draft has released: they go to the trash, and return to the end of the same draft.

    DRAFT/loose/ID/pictures.json   what is known of them: names, captions, sizes
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
    """Move files of pictures, of which `gone` says what is known, out of a draft's `folder` into its owner's trash.

    VelaturaError and OSError leave them where they are, or in `loose`.
    """
    gone = [one for one in gone if (pictures / f"{one['id']}.png").is_file()]
    if not gone:
        return
    place = folder / LOOSE / new_id()
    place.mkdir(mode=0o700, parents=True)
    with whole_file(place / KNOWN) as building:
        building.write_text(json.dumps(gone, ensure_ascii=False), encoding="utf-8")
    for one in gone:
        (pictures / f"{one['id']}.png").rename(place / f"{one['id']}.png")
        with suppress(FileNotFoundError):
            (folder / MASKS / _mask(one)).rename(place / _mask(one))
    name = str(gone[0]["name"]) if len(gone) == 1 else counted(len(gone), "picture")
    Trash(Store(runs)).put(new_item(PICTURES, name, owner, {CONTENT: place}, runs.absolute()))


def shown_name(item: TrashItem) -> str:
    """What an item of the trash is called: of several pictures, how many there are."""
    found = SEVERAL.fullmatch(item.name) if item.kind == PICTURES else None
    return counted(int(found[1]), "picture") if found else item.name


def returned(folder: Path) -> list[Path]:
    """The places of pictures that have come back from the trash to the draft in `folder`, and are not yet in it."""
    return sorted(place for place in (folder / LOOSE).glob("*") if place.is_dir())


def take_back(places: Sequence[Path], pictures: Path, masks: Path) -> Iterator[dict[str, Any]]:
    """Move the files of pictures that have come back to those of their draft; what is known of each, its id at least.

    Their places stay until the draft is written: done twice, it is as done once.
    """
    for place in places:
        try:
            known = json.loads((place / KNOWN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = [{"id": path.stem} for path in sorted(place.glob("*.png")) if "-" not in path.stem]
        for one in known:
            if (coming := place / f"{one['id']}.png").is_file():
                coming.rename(pictures / coming.name)
            with suppress(FileNotFoundError):
                (place / _mask(one)).rename(masks / _mask(one))
            if (pictures / f"{one['id']}.png").is_file():
                yield one


def _mask(picture: dict[str, Any]) -> str:
    """The file of a picture's mask; one that there is not if it has none."""
    return f"{picture['id']}-{picture.get('mask') or None}.png"


def forget(places: Sequence[Path]) -> None:
    """Remove the places of pictures that are in their draft again."""
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
