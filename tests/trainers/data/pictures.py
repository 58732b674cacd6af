"""Test pictures, and files of kinds that Pillow does not write: 16-bit PNG, plain TIFF, small ICC profiles."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image, ImageDraw


def scene(seed: int = 0, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A drawing with edges, shapes and colours that depend on the seed; `size` is (width, height)."""
    rng = np.random.default_rng(seed)
    width, height = size
    image = Image.new("RGB", size, tuple(int(v) for v in rng.integers(120, 256, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.uniform(0, width * 0.8), rng.uniform(0, height * 0.8)
        w, h = rng.uniform(width / 10, width / 3), rng.uniform(height / 10, height / 3)
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)((x, y, x + w, y + h), fill=colour)
    return image


def quadrants(top_left: str, top_right: str, bottom_left: str, bottom_right: str) -> Image.Image:
    """A 32 × 16 picture of four colours."""
    image = Image.new("RGB", (32, 16))
    for colour, place in ((top_left, (0, 0)), (top_right, (16, 0)), (bottom_left, (0, 8)), (bottom_right, (16, 8))):
        image.paste(colour, (*place, place[0] + 16, place[1] + 8))
    return image


def png(values: np.ndarray, colour_type: int, key: tuple[int, ...] = ()) -> bytes:
    """A 16-bit PNG of values (h, w, channels) in 0 … 65535, with a transparent key colour if given."""
    height, width = values.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    if key:
        chunks.append((b"tRNS", struct.pack(f">{len(key)}H", *key)))
    return png_of(*chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b""))


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of these chunks."""
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(values: np.ndarray, photometric: int, sample_format: int) -> bytes:
    """An uncompressed one-channel little-endian TIFF of values (h, w)."""
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: 8 * values.itemsize, 259: 1, 262: photometric, 277: 1, 278: height}
    tags |= {279: len(data), 339: sample_format}
    start = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted((tags | {273: start}).items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags) + 1) + entries + struct.pack("<I", 0) + data


def profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC version 2 profile with these tags beside the obligatory ones."""
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"p\0" + bytes(78)
    tags = {b"desc": text, b"cprt": b"text" + bytes(4) + b"p\0", b"wtpt": xyz(0.9642, 1.0, 0.8249)} | tags
    place = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    kind = b"mntr" if space != b"CMYK" else b"prtr"
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"lcms", 0x02400000, kind, space, connection)
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz(0.9642, 1.0, 0.8249)[8:]
    return head + bytes(128 - len(head)) + table + body


def xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def red_and_blue_swapped() -> bytes:
    """An RGB profile in which the first channel is blue and the last red."""
    red, green, blue = xyz(0.4361, 0.2225, 0.0139), xyz(0.3851, 0.7169, 0.0971), xyz(0.1431, 0.0606, 0.7141)
    curve = gamma(2.2)
    tags = {b"rXYZ": blue, b"gXYZ": green, b"bXYZ": red, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    return profile(b"RGB ", b"XYZ ", tags)


def linear_grey() -> bytes:
    return profile(b"GRAY", b"XYZ ", {b"kTRC": gamma(1.0)})


def cmyk_all_lightness() -> bytes:
    """A CMYK profile in which cyan alone darkens, to neutral black, and the other inks do nothing."""
    ramp = bytes(range(256))
    cells = b"".join(bytes((0 if cyan else 255, 128, 128)) * 8 for cyan in (0, 1))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + cells + ramp * 3
    return profile(b"CMYK", b"Lab ", {b"A2B0": table})
