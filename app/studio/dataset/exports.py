"""Exports captions, crops, rotations and masks of a draft as a ZIP of files named like the pictures."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from app.studio.dataset.drafts import Draft, Drafts
from app.studio.public_files import name_for_download
from trainers.atomic_files import whole_file
from trainers.data.source import CROP_ENDING, MASK_ENDING


def export_captions(drafts: Drafts, draft: Draft) -> Path:
    """A ZIP with `fox.txt`, `fox.crop.json` and `fox-mask.png` for each `fox.jpg`, in the draft's public folder."""
    place = name_for_download(drafts.previews(draft), "captions.zip")
    with whole_file(place) as building, zipfile.ZipFile(building, "w", zipfile.ZIP_DEFLATED) as packed:
        taken: set[str] = set()
        for picture in draft.pictures:
            stem = _unlike(_safe(picture.name), taken)
            packed.writestr(f"{stem}.txt", picture.caption + "\n")
            if (crop := picture.source_crop) is not None:
                packed.writestr(f"{stem}{CROP_ENDING}", crop.to_json())
            if picture.mask:
                mask = drafts.masks(draft) / f"{picture.id}-{picture.mask}.png"
                packed.write(mask, f"{stem}{MASK_ENDING}.png")
    return place


def _safe(name: str) -> str:
    """An uploaded name without its suffix and without parts that lead out of the ZIP."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    path = PurePosixPath(*parts) if parts else PurePosixPath("picture")
    return str(path.with_suffix("")).replace(":", "_")


def _unlike(stem: str, taken: set[str]) -> str:
    number, name = 2, stem
    while name.casefold() in taken:
        number, name = number + 1, f"{stem} ({number})"
    taken.add(name.casefold())
    return name
