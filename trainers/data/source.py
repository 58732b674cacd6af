"""The files of a training image: the picture, its crop and its mask.

    fox.jpg         the picture
    fox.crop.json   its crop: {"left": 0.1, "top": 0, "width": 0.5, "height": 0.5}, fractions of the upright picture;
                    with "rotate": 90, 180 or 270, of that picture after a clockwise rotation
    fox-mask.png    its mask: white is learned, black is ignored, grey counts in between

A mask covers the whole upright picture, in its size or any other of the same shape, and is rotated with it. It may also
be called `fox-masklabel.png`, as OneTrainer's. A file with such an ending is a picture like any other if there is no
picture of that name without it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from trainers.data.decode import IT, UnreadableError, alpha_mask, leaves_folder, open_image
from trainers.errors import said_by
from trainers.messages import Message as _

CROP_ENDING, MASK_ENDING = ".crop.json", "-mask"
MASK_ENDINGS = (MASK_ENDING, f"{MASK_ENDING}label")
MAX_CROP_BYTES = 4096
ROTATIONS: Mapping[int, Image.Transpose | None] = {
    0: None, 90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""Pillow's rotations, which are counterclockwise, by degrees clockwise."""
SAME_SHAPE = 0.02
"""Relative difference of aspect ratios up to which a mask fits a picture: small masks are rounded to whole pixels."""


@dataclass(frozen=True)
class Crop:
    """A rotation of an upright picture, then a part of it, as fractions of its width and height."""

    left: float = 0
    top: float = 0
    width: float = 1
    height: float = 1
    rotate: int = 0
    """Degrees clockwise, a key of `ROTATIONS`."""

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in a picture of `size` (width, height), at least one pixel wide and high."""
        (left, right), (top, bottom) = _span(self.left, self.width, size[0]), _span(self.top, self.height, size[1])
        return left, top, right, bottom

    def is_whole(self) -> bool:
        """Whether it is the whole picture as it is."""
        return self == Crop()

    def to_json(self) -> str:
        """The content of a crop file."""
        table = {name: round(value, 6) for name, value in asdict(self).items()}
        return json.dumps({name: value for name, value in table.items() if name != "rotate" or value}) + "\n"


@dataclass(frozen=True)
class Source:
    """A picture with its crop and mask, as read from their files."""

    whole: Image.Image
    """Upright, `RGB` or `RGBA`."""
    crop: Crop | None = None
    drawn: Image.Image | None = None
    """The mask file as `L`, of the whole picture's shape in any size."""

    def picture(self) -> Image.Image:
        """The trained part, `RGB` or `RGBA`."""
        return self.whole if self.crop is None else _cut(self.whole, self.crop)

    def weights(self, transparency: bool) -> Image.Image | None:
        """Weights of the pixels of the trained part, `L`; None if all count alike.

        The product of the mask and, if `transparency` excludes transparent areas, the opacity.
        """
        picture = self.picture()
        opacity = alpha_mask(picture) if transparency else None
        if self.drawn is None:
            return opacity
        drawn = self.drawn if self.crop is None else _cut(self.drawn, self.crop)
        if drawn.size != picture.size:
            drawn = drawn.resize(picture.size, Image.Resampling.BILINEAR)
        return drawn if opacity is None else ImageChops.multiply(drawn, opacity)


def read_source(path: Path, transparency: bool = False) -> Source:
    """Read a picture with its crop and mask.

    Raises UnreadableError if one of the files cannot be used, or if crop, mask and (with `transparency`) opacity leave
    nothing to learn.
    """
    whole, mask = open_image(path), mask_of(path)
    source = Source(whole, own_crop(path), None if mask is None else _own_mask(path, mask, whole.size))
    alpha = alpha_mask(source.picture())
    if alpha is not None and alpha.getextrema()[1] == 0:
        clear = _("{name} is completely transparent inside its crop")
        raise UnreadableError(path.name, clear if source.crop else _("{name} is completely transparent"))
    weights = None if mask is None else source.weights(transparency)
    if mask is not None and weights is not None and weights.getextrema()[1] == 0:
        black = _("{name} has a mask that is all black, so nothing of it would be learned: paint white in {mask}")
        black_inside = _(
            "{name} has a mask that is all black inside its crop, so nothing of it would be learned: paint white in "
            "{mask}"
        )
        raise UnreadableError(path.name, black_inside if source.crop else black, mask=mask)
    return source


def split_masks(images: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Separate the pictures of a folder from their masks."""
    images = list(images)
    stems = {path.stem for path in images}
    masks = [path for path in images if is_mask_name(path) and without_mask_ending(path.stem) in stems]
    return [path for path in images if path not in set(masks)], masks


def mask_of(path: Path) -> str | None:
    """The name of a picture's mask file; None if there is none."""
    names = (f"{path.stem}{ending}{suffix}" for ending in MASK_ENDINGS for suffix in (".png", ".PNG"))
    return next((name for name in names if path.with_name(name).is_file()), None)


def crop_file(path: Path) -> Path:
    """Path of a picture's crop file."""
    return path.with_name(path.stem + CROP_ENDING)


def mask_file(path: Path) -> Path:
    """Path of a picture's mask file."""
    return path.with_name(f"{path.stem}{MASK_ENDING}.png")


def own_crop(path: Path) -> Crop | None:
    """A picture's crop; None without one, or if it changes nothing. Raises UnreadableError."""
    place = crop_file(path)
    if not place.is_file():
        return None
    if leaves_folder(place):
        raise UnreadableError(
            path.name, "{name} has a crop {crop} that is a link to a file outside the folder", crop=place.name
        )
    with place.open("rb") as file:
        content = file.read(MAX_CROP_BYTES + 1)
    try:
        crop = parse_crop(content)
    except ValueError as error:
        raise UnreadableError(
            path.name, "{name} has a crop {crop} that cannot be used: {reason}", crop=place.name, reason=said_by(error)
        ) from error
    return None if crop.is_whole() else crop


def parse_crop(content: bytes) -> Crop:
    """Parse a crop file. Raises ValueError, whose message completes a sentence."""
    try:
        table = json.loads(content[: MAX_CROP_BYTES + 1])
    except ValueError:
        raise ValueError(_("it is not JSON")) from None
    names = ("left", "top", "width", "height")
    if isinstance(table, dict) and "rotate" in table:
        table = asdict(Crop()) | table
    if not isinstance(table, dict) or any(not _is_number(table.get(name)) for name in names):
        raise ValueError(_("it must have the numbers left, top, width and height"))
    left, top, width, height = (float(table[name]) for name in names)
    return make_crop(left, top, width, height, table.get("rotate", 0))


def make_crop(left: float, top: float, width: float, height: float, rotate: int = 0) -> Crop:
    """A crop within the picture. Raises ValueError, whose message completes a sentence."""
    if not _is_number(rotate) or rotate not in ROTATIONS:
        raise ValueError(_("rotate must be 0, 90, 180 or 270"))
    for start, length, wrong in (
        (left, width, _("left and width must be fractions within the picture, such as 0.25 and 0.5")),
        (top, height, _("top and height must be fractions within the picture, such as 0.25 and 0.5")),
    ):
        if not (start >= 0 and length > 0 and start + length <= 1 + 1e-6):
            raise ValueError(wrong)
    return Crop(left, top, min(width, 1 - left), min(height, 1 - top), int(rotate))


def open_mask(path: Path, keep_pixels: int | None = None) -> Image.Image:
    """A mask file as `L`; transparent parts of it count as black. Raises UnreadableError."""
    mask = open_image(path, keep_pixels=keep_pixels)
    opacity = alpha_mask(mask)
    grey = mask.convert("RGB").convert("L")
    return grey if opacity is None else ImageChops.multiply(grey, opacity)


def has_shape_of(mask: tuple[int, int], picture: tuple[int, int]) -> bool:
    """Whether a mask has the shape of a picture, both as (width, height)."""
    expected = mask[0] * picture[1] / picture[0]
    return abs(mask[1] - expected) <= max(1.0, SAME_SHAPE * expected)


def wrong_shape(name: str, mask: str, found: tuple[int, int], picture: tuple[int, int]) -> UnreadableError:
    """The error about a mask whose shape differs from that of the picture `name`."""
    return UnreadableError(
        name,
        "{name} has a mask {mask} of another shape ({mask_width} × {mask_height} pixels; the upright picture has "
        "{width} × {height})",
        mask=mask,
        mask_width=found[0],
        mask_height=found[1],
        width=picture[0],
        height=picture[1],
    )


def _own_mask(path: Path, name: str, size: tuple[int, int]) -> Image.Image:
    try:
        mask = open_mask(path.with_name(name))
    except UnreadableError as error:
        raise UnreadableError(
            path.name,
            "{name} has a mask {mask} that cannot be used: {reason}",
            mask=name,
            reason=error.about(IT),
        ) from error
    if not has_shape_of(mask.size, size):
        raise wrong_shape(path.name, name, mask.size, size)
    return mask


def is_mask_name(path: Path) -> bool:
    """Whether a file is named like a mask."""
    return path.suffix.lower() == ".png" and path.stem.endswith(MASK_ENDINGS)


def without_mask_ending(stem: str) -> str:
    """The stem of the picture that a mask of this stem belongs to."""
    ending = next((ending for ending in MASK_ENDINGS if stem.endswith(ending)), "")
    return stem.removesuffix(ending)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _cut(image: Image.Image, crop: Crop) -> Image.Image:
    rotation = ROTATIONS[crop.rotate]
    image = image if rotation is None else image.transpose(rotation)
    return image.crop(crop.box(image.size))


def _span(start: float, length: float, of: int) -> tuple[int, int]:
    first = min(round(start * of), of - 1)
    return first, max(first + 1, min(of, round((start + length) * of)))
