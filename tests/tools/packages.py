"""Packages made by hand: icon tables as npm packs them, and wheels with photographs or other files in them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from tools.icons import icon_name
from tools.starter.drawings.sets import IconSet

SQUARE = '<path fill="#f00" d="M20 30h40v40H20z"/>'
TABLE: dict[str, Any] = {
    "prefix": "test",
    "width": 10,
    "height": 10,
    "icons": {
        "half": {"body": '<path fill="currentColor" d="M0 0h5v10H0z"/>'},
        "square": {"body": SQUARE, "left": 20, "top": 30, "width": 40, "height": 80},
        "square-inside": {"body": SQUARE, "width": 80, "height": 100},
    },
    "aliases": {
        "left-half": {"parent": "half"},
        "right-half": {"parent": "half", "hFlip": True},
        "square": {"parent": "half"},
    },
}
WHEEL = "velatura_art-1.5-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl"


def integrity(content: bytes) -> str:
    """SHA-512 as npm writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def make_table(concepts: Iterable[str], colour: str) -> dict[str, Any]:
    """An icon table in which every concept is a blob of its own place and size."""
    icons = {}
    for index, concept in enumerate(concepts):
        x, y, radius = 30 + 13 * (index % 4), 30 + 11 * (index // 4 % 4), 10 + 5 * (index % 5)
        icons[icon_name(concept)] = {"body": f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{colour}"/>'}
    return {"prefix": "test", "width": 100, "height": 100, "icons": icons}


def pack_icons(archive: Path, table: Mapping[str, Any] = TABLE) -> str:
    """Write a package that holds the table; returns its hash."""
    content = json.dumps(table).encode()
    with tarfile.open(archive, "w:gz") as package:
        entry = tarfile.TarInfo("package/icons.json")
        entry.size = len(content)
        package.addfile(entry, io.BytesIO(content))
    return integrity(archive.read_bytes())


def pack_sets(folder: Path, sets: Sequence[IconSet], concepts: Sequence[str]) -> tuple[IconSet, ...]:
    """Write each set's package, in a colour of its own, where it would be downloaded to; the sets with their hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = []
    for index, icon_set in enumerate(sets):
        archive = folder / f"{icon_set.package.removeprefix('@').replace('/', '-')}-{icon_set.version}.tgz"
        table = make_table(concepts, colour=f"hsl({360 * index // len(sets)},80%,50%)")
        packed.append(replace(icon_set, integrity=pack_icons(archive, table)))
    return tuple(packed)


def pack_photographs(wheel: Path, images: Mapping[str, Image.Image]) -> str:
    """Write a wheel that pip takes, with images as PNG by their paths; returns its SHA-256 (hex)."""
    files = {}
    for path, image in images.items():
        file = io.BytesIO()
        image.save(file, "PNG")
        files[path] = file.getvalue()
    return pack_wheel(wheel, files)


def pack_sdist(archive: Path, files: Mapping[str, bytes]) -> str:
    """Write a source archive with these files by their paths in it; returns its SHA-256 (hex)."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as package:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            package.addfile(entry, io.BytesIO(content))
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def pack_wheel(wheel: Path, files: Mapping[str, bytes]) -> str:
    """Write a wheel that pip takes, with these files by their paths; returns its SHA-256 (hex)."""
    wheel.parent.mkdir(parents=True, exist_ok=True)
    name, version, python, abi, platforms = wheel.stem.split("-")
    information = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as package:
        for path, content in files.items():
            package.writestr(path, content)
        package.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        tags = "".join(f"Tag: {python}-{abi}-{platform}\n" for platform in platforms.split("."))
        package.writestr(f"{information}/WHEEL", f"Wheel-Version: 1.0\nGenerator: hand\n{tags}")
        package.writestr(f"{information}/RECORD", "")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()
