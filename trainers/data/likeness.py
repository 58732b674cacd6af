"""Sharpness and contrast of images, and duplicates and near duplicates by a hash and a perceptual hash.

The perceptual hash is a small version of the image: brightness on a 16 × 16 grid, both colour differences on 4 × 4.
Two images are near duplicates when their hashes differ by less than a share of their own contrast, which holds for
re-compressed and resized copies and not for different drawings of one kind on the same background.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

LUMA_SIDE, CHROMA_SIDE, PREPARED_SIDE = 16, 4, 64
# Measured on three emoji sets and photographs: copies (half size, JPEG quality 60) lie below 0.135 and nine in ten
# below 0.09; the closest pair of different drawings (two faces that differ in the mouth) lies at 0.134.
NEAR = 0.12
LEAST_CONTRAST = 0.05
LENGTH = LUMA_SIDE**2 + 2 * CHROMA_SIDE**2
BLOCK = 256
"""Images compared with all before them at a time, which bounds the memory."""
# Measured at the training size: sharp photographs lie above 0.024 and drawings above 0.1, a Gaussian blur of 1 pixel
# leaves 0.0035 or more, one of 3 pixels at most 0.0014 on photographs. Doubtful images are left alone.
BLURRED = 0.002
UNIFORM = 4.0

BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
# A rounded channel is off by a variance of 1/12, and the Laplacian's weights squared sum to 4 · 1² + 4² = 20.
ROUNDING = float((BRIGHTNESS**2).sum()) * 20 / 12


def pixel_hash(image: Image.Image) -> str:
    """SHA-256 (hex) of mode, size and pixels, independent of the file format."""
    digest = hashlib.sha256(f"{image.mode} {image.width} {image.height} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def fingerprint(image: Image.Image) -> np.ndarray:
    """The perceptual hash of an `RGB` image, (16·16 + 2·4·4,) fp32; distances are root mean squares of channels."""
    shrink = Image.Resampling.BOX if min(image.size) >= PREPARED_SIDE else Image.Resampling.BILINEAR
    small = image.resize((PREPARED_SIDE, PREPARED_SIDE), shrink).convert("YCbCr")
    parts = []
    for channel, side in zip(small.split(), (LUMA_SIDE, CHROMA_SIDE, CHROMA_SIDE), strict=True):
        values = np.asarray(channel.resize((side, side), Image.Resampling.BOX), np.float32) / 255
        parts.append(values.ravel() / side)  # divided by √(number of values), so that squares sum to a mean
    return np.concatenate(parts)


def near_duplicates(fingerprints: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """Groups of two or more indices, ascending, of images that each nearly equal another of their group."""
    return NearDuplicates().groups([str(index) for index in range(len(fingerprints))], fingerprints)


class NearDuplicates:
    """Finds near duplicates; caches comparisons, for lists of images that grow and shrink."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._prints = np.zeros((0, LENGTH))
        self._contrast = np.zeros(0)
        self._near: dict[int, set[int]] = {}

    def groups(self, hashes: Sequence[str], fingerprints: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
        """As `near_duplicates`, for images with distinct hashes."""
        fresh = {key: print_ for key, print_ in zip(hashes, fingerprints, strict=True) if key not in self._places}
        if fresh:
            self._compare(fresh)
        here = {self._places[key]: index for index, key in enumerate(hashes)}
        groups, seen = [], set[int]()
        for start in here:
            if start in seen or start not in self._near:
                continue
            group, ahead = set[int](), [start]
            while ahead:
                place = ahead.pop()
                if place not in group:
                    group.add(place)
                    ahead += [other for other in self._near.get(place, ()) if other in here]
            seen |= group
            if len(group) > 1:
                groups.append(tuple(sorted(here[place] for place in group)))
        return groups

    def _compare(self, fresh: Mapping[str, np.ndarray]) -> None:
        first = len(self._prints)
        new = np.stack(list(fresh.values())).astype(np.float64)
        self._places |= {key: first + number for number, key in enumerate(fresh)}
        self._prints = np.concatenate([self._prints, new])
        self._contrast = np.concatenate([self._contrast, [_contrast(print_) for print_ in new]])
        squares = (self._prints**2).sum(1)
        for begin in range(first, len(self._prints), BLOCK):
            rows = slice(begin, begin + BLOCK)
            former = slice(begin + BLOCK)
            products = self._prints[rows] @ self._prints[former].T
            distance = squares[rows, None] + squares[None, former] - 2 * products
            limit = (NEAR * np.minimum(self._contrast[rows, None], self._contrast[None, former])) ** 2
            for row, other in np.argwhere(distance < limit):
                if (place := begin + int(row)) != other:
                    self._near.setdefault(place, set()).add(int(other))
                    self._near.setdefault(int(other), set()).add(place)


def _contrast(print_: np.ndarray) -> float:
    """Root mean square deviation of the channels from their means, at least `LEAST_CONTRAST`."""
    variance, start = 0.0, 0
    for side in (LUMA_SIDE, CHROMA_SIDE, CHROMA_SIDE):
        variance += float((print_[start : start + side * side] * side).var())
        start += side * side
    return max(variance**0.5, LEAST_CONTRAST)


def contrast(image: Image.Image) -> float:
    """Largest standard deviation of the three channels of an `RGB` image, in steps of 0 to 255."""
    return float(np.max(np.asarray(image, np.float32).std((0, 1))))


def sharpness(image: Image.Image) -> float:
    """Variance of the brightness's Laplacian over the variance of the brightness itself; 0 for a uniform `RGB` image.

    The division makes it independent of contrast, which both faint and blurred drawings lack. The variance that
    rounding of the pixels adds to the Laplacian is subtracted; it would count as detail in a faint, blurred image.
    """
    values = np.asarray(image, np.float32) @ BRIGHTNESS
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * values[1:-1, 1:-1]
    variance = float(values.var())
    if not laplacian.size or variance < ROUNDING:
        return 0.0
    return max(0.0, float(laplacian.var()) - ROUNDING) / variance
