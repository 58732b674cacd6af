"""Image files with their generation parameters as metadata."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.jobs.small_jobs import ROUGH
from trainers.atomic_files import check_free
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
EXIF_TABLE, USER_COMMENT = 0x8769, 0x9286


def check_place(out: Path, overwrite: bool) -> None:
    """Raise VelaturaError if `out` cannot be written, or exists and must not be replaced."""
    if out.suffix.lower() not in SUFFIXES:
        raise VelaturaError(
            "cannot write {name!r}: the picture's name must end in {suffixes}",
            name=out.name,
            suffixes=", ".join(SUFFIXES),
        )
    check_free(out, overwrite)


def write_picture(picture: Image, out: Path, parameters: dict[str, object]) -> None:
    """Write the file atomically, with Python's own I/O, since encoders do not always report a full disk."""
    from trainers.atomic_files import plain_disk_errors, whole_file

    data = _encoded(picture, SUFFIXES[out.suffix.lower()], parameters)
    made = [folder for folder in out.parents if not folder.exists()]
    try:
        with plain_disk_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(out) as building:
                building.write_bytes(data)
    finally:
        for folder in made:  # created for the picture that was not written
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def write_rough(folder: Path, place: int, picture: Image) -> None:
    """Write the preview of a picture into a job's folder."""
    from trainers.atomic_files import whole_file

    with suppress(OSError), whole_file(folder / ROUGH.format(place)) as building:
        picture.save(building, "WEBP", quality=80)


def _encoded(picture: Image, kind: str, parameters: dict[str, object]) -> bytes:
    """The encoded picture, with its parameters as JSON in PNG's text chunk `velatura` or EXIF's comment."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    buffer = io.BytesIO()
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("velatura", json.dumps(parameters, ensure_ascii=False))
        picture.save(buffer, kind, pnginfo=info)
    else:
        exif = Image.Exif()
        exif.get_ifd(EXIF_TABLE)[USER_COMMENT] = b"ASCII\0\0\0" + json.dumps(parameters).encode("ascii")
        picture.save(buffer, kind, exif=exif, quality=95)
    return buffer.getvalue()
