"""Packages made by hand: an icon table as npm packs it, and a wheel with photographs in it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

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


def pack_icons(archive: Path) -> str:
    """Write a package that holds `TABLE`; returns its hash."""
    content = json.dumps(TABLE).encode()
    with tarfile.open(archive, "w:gz") as package:
        entry = tarfile.TarInfo("package/icons.json")
        entry.size = len(content)
        package.addfile(entry, io.BytesIO(content))
    return integrity(archive.read_bytes())


def pack_photographs(wheel: Path, images: Mapping[str, Image.Image]) -> str:
    """Write a wheel that pip takes, with images as PNG by their paths; returns its SHA-256 (hex)."""
    name, version = wheel.name.split("-")[:2]
    information = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as package:
        for path, image in images.items():
            file = io.BytesIO()
            image.save(file, "PNG")
            package.writestr(path, file.getvalue())
        package.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        tags = "".join(f"Tag: cp311-cp311-{tag}\n" for tag in wheel.stem.split("-")[-1].split("."))
        package.writestr(f"{information}/WHEEL", f"Wheel-Version: 1.0\nGenerator: hand\n{tags}")
        package.writestr(f"{information}/RECORD", "")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()
