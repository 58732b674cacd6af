"""Files as users have them, good and bad."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from tests.trainers.data.pictures import scene


def write_pictures(folder: Path, *names: str) -> Path:
    """A folder of small different drawings with these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        scene(seed, (96, 96)).save(folder / name)
    return folder


def write_bomb(path: Path, side: int = 20_000) -> None:
    """A PNG of a few hundred bytes that claims to be a square of this many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))


def write_broken_pictures(folder: Path) -> Path:
    """A bomb, a text file that calls itself PNG, and a PNG that ends in the middle."""
    write_pictures(folder, "whole.png")
    whole = folder / "whole.png"
    (folder / "broken.png").write_bytes(whole.read_bytes()[:100])
    whole.unlink()
    write_bomb(folder / "bomb.png")
    (folder / "text.png").write_text("not an image", encoding="utf-8")
    return folder
