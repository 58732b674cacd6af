"""Aspect-ratio buckets: the size and crop at which an image is trained.

Every bucket has about the area of the training resolution's square, sides divisible by the model's stride, and an
aspect ratio within the limit. Images too small for that get a bucket of the next lower resolution that they fill.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

from trainers.errors import VelaturaError

Pair = tuple[int, int]


@dataclass(frozen=True)
class Bucket:
    """A training size in pixels, and how an image is resized to it."""

    width: int
    height: int
    scale: float
    """Resize factor before cropping; above 1 it upscales."""
    reduced: bool
    """Whether the image is too small for the training resolution and is trained smaller."""
    enlarged: bool
    """Whether even the smallest bucket upscales the image beyond the limit."""

    @property
    def shape(self) -> Pair:
        """(height, width), the same for a whole batch."""
        return self.height, self.width


def bucket_for(width: int, height: int, resolution: int, stride: int, max_aspect: float, max_upscale: float) -> Bucket:
    """The bucket of an image of `width` × `height` pixels.

    Its sides are multiples of `stride`, at least two strides (one if `resolution` is less than two), its area is at
    most `resolution`², and its aspect ratio the closest to the image's within `max_aspect`. The image is upscaled by at
    most `max_upscale`, in a smaller bucket if needed (`reduced`), unless none is small enough (`enlarged`).
    Raises VelaturaError if the resolution is below the stride.
    """
    if resolution < stride:
        raise VelaturaError(
            "The training resolution is {resolution} pixels, but this base needs at least {stride}.",
            resolution=resolution,
            stride=stride,
        )
    full = resolution // stride * stride
    least = min(2 * stride, full)
    aspect = min(max(width / height, 1 / max_aspect), max_aspect)
    # The largest part of the image in the bucket's shape, enlarged to the limit, bounds the training size.
    usable = max_upscale * min(width / math.sqrt(aspect), height * math.sqrt(aspect))
    sides = [resolution, *range(min(full, math.ceil(usable / stride) * stride), least - 1, -stride), least]
    for side in sides:
        w, h = _shape(aspect, side, stride, least, max_aspect)
        scale = max(w / width, h / height)
        if scale <= max_upscale:
            return Bucket(w, h, scale, reduced=side < full, enlarged=False)
    return Bucket(w, h, scale, reduced=least < full, enlarged=True)


def resized(size: Pair, bucket: Bucket, offset: tuple[float, float]) -> tuple[Pair, Pair]:
    """The size (height, width) at which an image of `size` covers its bucket, and the crop's (top, left) in it.

    `offset` is the crop's position as shares (down, right) of the available room: 0.5 is the centre.
    """
    height = max(bucket.height, round(size[0] * bucket.scale))
    width = max(bucket.width, round(size[1] * bucket.scale))
    top = round(offset[0] * (height - bucket.height))
    left = round(offset[1] * (width - bucket.width))
    return (height, width), (top, left)


def fit(image: Image.Image, bucket: Bucket, offset: tuple[float, float]) -> tuple[Image.Image, Pair, Pair]:
    """Resize an image (or mask) to cover its bucket, and crop it.

    Returns the image in the bucket's size, the original (height, width) and the crop's (top, left).
    """
    size = image.height, image.width
    (height, width), (top, left) = resized(size, bucket, offset)
    if (height, width) != size:
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image.crop((left, top, left + bucket.width, top + bucket.height)), size, (top, left)


def cropped_share(size: Pair, bucket: Bucket) -> float:
    """Share of an image of `size` (height, width) that the crop to its bucket removes."""
    covered = bucket.width * bucket.height / (size[0] * size[1] * bucket.scale**2)
    return max(0.0, 1 - covered)


def _shape(aspect: float, side: int, stride: int, least: int, max_aspect: float) -> Pair:
    """(width, height) of the bucket of about `side`² pixels with the closest aspect ratio; the larger one of equals."""
    candidates = set()
    for long in range(least, int(side * math.sqrt(max_aspect)) + 1, stride):
        short = min(long, side * side // long // stride * stride)
        if least <= short and long / short <= max_aspect:
            candidates |= {(long, short), (short, long)}
    return min(candidates, key=lambda shape: (abs(math.log(shape[0] / shape[1] / aspect)), -shape[0] * shape[1], shape))
