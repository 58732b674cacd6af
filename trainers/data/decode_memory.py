"""The memory that decoding an image needs, and the limit per process for all concurrent decoding.

The need of each decoder was measured (`tests/trainers/data/test_decode_memory.py` measures again) and is computed from
the header, before any pixel is decoded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from PIL import Image

from trainers.process.allocation import return_freed_memory

MOST_BYTES = 5 * 2**28
"""Maximum bytes that a process uses for decoding at a time; 100 million 8-bit pixels need two thirds of it."""

BYTES_A_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""Bytes per pixel of Pillow's modes; all others take `WIDE`."""
WIDE = 4
CODEC = {"WEBP": 12, "AVIF": 16, "HEIF": 8}
"""Bytes per pixel that a decoder holds besides Pillow's image: planes, canvases and buffers."""
HDR_CODEC = 8
"""Additional bytes per pixel for HEIF images of more than eight bits."""
COEFFICIENT = 2
"""Bytes of a coefficient; a progressive JPEG's decoder holds one per pixel and channel."""
WHOLE_FILE_READ = frozenset(CODEC)
OVERHEAD = 24 * 2**20
"""Bytes for tiles during conversion, tables, and memory that the allocator keeps."""
LARGE = 8
"""Share of the limit above which an image's freed memory is returned to the system."""
BITS_TAG, SAMPLES_TAG = 258, 277


def bytes_to_decode(image: Image.Image, kept_pixels: int | None = None, file_bytes: int = 0) -> int:
    """Peak bytes for decoding and converting an image that is opened but not loaded.

    `kept_pixels` is the number of pixels it is scaled down to afterwards; None for no scaling.
    """
    pixels = image.width * image.height
    stored = BYTES_A_PIXEL.get(image.mode, WIDE)
    codec = _codec(image)
    kept = WIDE
    scale = min(1.0, (kept_pixels / pixels) ** 0.5) if kept_pixels and pixels else 0.0
    resized = 2 * WIDE + WIDE * scale  # with premultiplied alpha, and scaled in one direction
    most = max(stored + codec, stored + _held(image, codec) + kept, 2 * kept, resized if scale < 1 else 0.0)
    rows = 4 * image.width * 8  # two rows of a decoder, with up to 16 bits for four channels
    whole = 2 * file_bytes if image.format in WHOLE_FILE_READ else 0
    return int(pixels * most) + rows + whole + OVERHEAD


def _codec(image: Image.Image) -> float:
    """Bytes per pixel that the decoder holds besides the image while decoding."""
    match image.format:
        case "JPEG" | "MPO":
            return COEFFICIENT * len(image.getbands()) if image.info.get("progressive") else 0
        case "TIFF":
            tags = getattr(image, "tag_v2", {})
            bits = int(np.max(np.ravel(tags.get(BITS_TAG, 1))))
            samples = int(np.max(np.ravel(tags.get(SAMPLES_TAG, 1))))
            return max(1, bits // 8) * max(samples, len(image.getbands()))  # a strip may be the whole image
        case "HEIF":
            return CODEC["HEIF"] + (HDR_CODEC if int(image.info.get("bit_depth") or 8) > 8 else 0)
        case format:
            return CODEC.get(str(format), 0)


def _held(image: Image.Image, codec: float) -> float:
    """The part of these bytes that is held until the image is closed."""
    return codec if image.format in CODEC else 0


class DecodeBudget:
    """A shared budget of bytes; requests wait in order until there is room."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Reserve `size` bytes while the block runs; ValueError if the budget is smaller."""
        if size > self.total:
            raise ValueError(f"{size} bytes exceed the limit of {self.total}")
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                self._changed.wait_for(lambda: self._line[0] is ticket and self._free >= size)
                self._free -= size
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            if size * LARGE >= self.total:
                return_freed_memory()
            with self._changed:
                self._free += size
                self._changed.notify_all()


@cache
def decode_budget() -> DecodeBudget:
    """The budget of this process."""
    return DecodeBudget(MOST_BYTES)
