"""Files for browsers: copies in public folders with unguessable names."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from app.jobs.events.losses import Numbers
from trainers.atomic_files import whole_file
from trainers.data.decode import UnreadableError, flatten, open_image

SMALL, LARGEST = 256, 2048
"""Maximum sides of copies for pages."""
FORMATS = ("PNG", "JPEG", "WEBP")


def put_web_copy(path: Path, place: Path, small: bool) -> Path:
    """Write a picture as WebP to `place` in a public folder, once."""
    if not place.exists():
        picture = decoded(path)
        side = SMALL if small else LARGEST
        if max(picture.size) > side:
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        with whole_file(place) as building:
            picture.save(building, "WEBP", quality=86 if small else 92)
    return place


def decoded(path: Path) -> Image.Image:
    """A picture, or a grey one if the file is damaged."""
    try:
        return flatten(open_image(path, keep_pixels=LARGEST**2, formats=FORMATS))
    except UnreadableError:
        return Image.new("RGB", (SMALL, SMALL), "#808080")


def offer_file(file: Path, public: Path, name: str = "") -> Path:
    """A public copy of a style file, as a hard link if possible, by default with its name."""
    place = name_for_download(public, name or file.name)
    link_or_copy(file, place)
    return place


def link_or_copy(file: Path, place: Path) -> None:
    """Copy a file, as a hard link if possible."""
    try:
        os.link(file, place)
    except OSError:  # another disk, no hard links, or an existing file
        with whole_file(place) as building:
            shutil.copyfile(file, building)


def put_packed(folder: Path, place: Path) -> None:
    """Write a folder's files to a ZIP, in a folder with the ZIP's name."""
    with whole_file(place) as building, zipfile.ZipFile(building, "w", zipfile.ZIP_STORED) as packed:
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            packed.write(file, f"{place.stem}/{file.name}")


def offer_version(source: Path, public: Path, name: str, put: Callable[[Path, Path], None]) -> Path:
    """The result of `put` for a file, under a URL that changes with the file, because browsers cache."""
    seen = source.stat()
    stamp = hashlib.blake2b(f"{source.name}|{seen.st_mtime_ns}|{seen.st_size}".encode(), digest_size=8).hexdigest()
    place = public / stamp / name
    if not place.is_file():
        for old in public.iterdir():
            if (old / name).exists():
                shutil.rmtree(old, ignore_errors=True)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        put(source, place)
    return place


def offer_numbers(name: str, numbers: Numbers, public: Path) -> Path:
    """A run's measurements by step, as a CSV file."""
    place = name_for_download(public, f"{name}-numbers.csv")
    with whole_file(place) as building:
        building.write_text(numbers.as_csv(), encoding="utf-8")
    return place


def name_for_download(public: Path, name: str) -> Path:
    """A new path for a download called `name`, so that browsers do not use a cached one."""
    folder = public / f"{os.urandom(6).hex()}"
    for old in public.iterdir():
        if old.is_dir() and (old / name).exists():
            shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder / name
