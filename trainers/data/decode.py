"""Decodes common image files to one form: first frame, upright, sRGB, 8 bits, RGB or RGBA.

Files are untrusted: only listed formats are tried, the size is checked in the header before decoding, and links out of
the folder are not followed.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainers.data.decode_memory import bytes_to_decode, decode_budget
from trainers.errors import VelaturaError
from trainers.messages import Message, either
from trainers.messages import Message as _

MAX_PIXELS = 100_000_000
TILE = 2**18
"""Pixels converted at a time, in full precision."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF")
FORMATS_IN_WORDS = either(("JPEG", "PNG", "WebP", "BMP", "GIF", "TIFF", "AVIF", "HEIC"))

# Errors of decoders on broken files; several of Pillow's raise plain Python errors.
DECODING_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

ORIENTATION_TAG = 274
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n": "PNG", b"GIF8": "GIF"}
"""Signatures of formats that Pillow does not identify if the rest of the file is damaged."""
PHOTOMETRIC_TAG, SAMPLE_FORMAT_TAG = 262, 339
WHITE_IS_ZERO, UNSIGNED = 0, 1


# NOTE: a file or a mask, at the start of a clause
IT = _("it")
DAMAGED = _("{name} is damaged and cannot be opened ({detail}); copy or export it again")


class UnreadableError(VelaturaError):
    """A file that cannot be used; its sentence begins with the file, as `{name}`."""

    def __init__(self, name: str, sentence: str, /, **parameters: object) -> None:
        super().__init__(Message(sentence, name=name, **parameters))

    def about(self, subject: str) -> Message:
        """The same sentence about `subject`, such as "This file"."""
        return self.message.format(**{**self.message.named, "name": subject})


def open_image(
    path: Path, max_pixels: int = MAX_PIXELS, keep_pixels: int | None = None, formats: tuple[str, ...] = FORMATS
) -> Image.Image:
    """Decode an image file to an upright 8-bit sRGB image: `RGB`, or `RGBA` if part of it is transparent.

    Images of more than `keep_pixels` pixels are scaled down to that number. All threads of a process share a limit of
    `decode_memory.MOST_BYTES` and wait for each other. Raises UnreadableError if the file is not a readable image of an
    allowed format and size.
    """
    from pillow_heif import register_heif_opener

    register_heif_opener()
    _check_file(path)
    try:
        with ExitStack() as stack:
            opened = stack.enter_context(Image.open(path, formats=formats))
            if opened.width * opened.height > max_pixels:
                raise UnreadableError(
                    path.name,
                    "{name} is too large: it has {width} × {height} pixels, and {most} million are the most; save it "
                    "smaller",
                    width=opened.width,
                    height=opened.height,
                    most=max_pixels // 10**6,
                )
            needed = bytes_to_decode(opened, keep_pixels, path.stat().st_size)
            if needed > decode_budget().total:
                raise UnreadableError(
                    path.name,
                    "{name} is too large: opening it takes about {needed:.0f} MB of memory, and {most:.0f} MB are the "
                    "most; save it smaller",
                    needed=needed / 1e6,
                    most=decode_budget().total / 1e6,
                )
            stack.enter_context(decode_budget().reserve(needed))
            opened.load()
            orientation = _orientation(opened)
            image = _standard(opened)
            opened.close()  # free its pixels before rotating or scaling
            image = image if image.mode == "RGB" or _is_transparent(image) else image.convert("RGB")
            image = _no_larger(_upright(image, orientation), keep_pixels)
        return image  # noqa: RET504 (frees the larger image first)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableError(
            path.name,
            "{name} is too large: {most} million pixels are the most; save it smaller",
            most=max_pixels // 10**6,
        ) from error
    except UnidentifiedImageError as error:
        raise _describe_unidentified(path) from error
    except DECODING_ERRORS as error:
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnreadableError(path.name, DAMAGED, detail=detail) from error


def _check_file(path: Path) -> None:
    if leaves_folder(path):
        raise UnreadableError(path.name, "{name} is a link to a file outside its folder, which is not followed")
    if not path.is_file():
        raise UnreadableError(path.name, _("{name} is not a file") if path.exists() else _("{name} does not exist"))


def leaves_folder(path: Path) -> bool:
    """Whether `path` is a link out of its folder."""
    return path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve())


def flatten(image: Image.Image) -> Image.Image:
    """Put an image on white; returns `RGB`."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    flat = Image.new("RGB", image.size)
    for box in _tiles(image.size):  # copies of a whole image would take four times its memory
        tile = image.crop(box)
        flat.paste(Image.alpha_composite(Image.new("RGBA", tile.size, "white"), tile).convert("RGB"), box)
    return flat


def alpha_mask(image: Image.Image) -> Image.Image | None:
    """The opacity of an `RGBA` image as an `L` image (255 = opaque), or None if nothing is transparent."""
    return image.getchannel("A") if image.mode == "RGBA" else None


def _describe_unidentified(path: Path) -> UnreadableError:
    """The error about a file that Pillow does not identify."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return UnreadableError(path.name, "{name} is empty; copy it again")
    if start.startswith(b"%PDF-"):
        return UnreadableError(path.name, "{name} is a PDF, which is not supported: export its pages as PNG")
    if kind := next((kind for sign, kind in SIGNATURES.items() if start.startswith(sign)), None):
        return UnreadableError(path.name, DAMAGED, detail=kind)
    if b"<svg" in start:
        return UnreadableError(path.name, "{name} is an SVG drawing, which is not supported: export it as PNG")
    # The 512 bytes may end within a multi-byte letter, hence "ignore" after the check for control bytes.
    printable = not any(byte < 9 or 13 < byte < 32 for byte in start)
    if printable and len(start.decode("utf-8", "ignore").encode()) >= len(start) - 3:
        return UnreadableError(path.name, "{name} holds text, not an image")
    return UnreadableError(
        path.name,
        "{name} is not an image in a supported format ({formats}); save it as one of these",
        formats=FORMATS_IN_WORDS,
    )


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except DECODING_ERRORS:
        return 1  # with broken EXIF the pixels can still be valid


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _no_larger(image: Image.Image, pixels: int | None) -> Image.Image:
    scale = (pixels / (image.width * image.height)) ** 0.5 if pixels else 1.0
    if scale >= 1:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _is_transparent(image: Image.Image) -> bool:
    return image.getchannel("A").getextrema() != (255, 255)


def _tiles(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes that divide an image into tiles of at most `TILE` pixels."""
    width, height = size
    across = min(width, TILE)
    down = max(1, TILE // across)
    for y in range(0, height, down):
        for x in range(0, width, across):
            yield x, y, min(x + across, width), min(y + down, height)


def _standard(image: Image.Image) -> Image.Image:
    """Convert to sRGB without metadata, tile by tile; `RGBA` if the file declares transparency."""
    profile = image.info.get("icc_profile")
    to_eight_bits = _scaling(image)
    if to_eight_bits is None and "transparency" in image.info and image.mode == "RGB":
        # A key colour of a 16-bit PNG is given in 16 bits, but Pillow has read the pixels as 8 bits.
        key = image.info["transparency"]
        image.info["transparency"] = tuple(value >> 8 for value in key) if max(key) > 255 else key
    with_alpha = to_eight_bits is None and image.has_transparency_data
    mode = "L" if to_eight_bits is not None else _colours(image.mode, with_alpha)
    to_srgb = _through_profile(profile, mode)
    converted = Image.new("RGBA" if with_alpha else "RGB", image.size)
    for box in _tiles(image.size):
        tile = image.crop(box)
        if to_eight_bits is not None:
            tile = to_eight_bits(tile)
        alpha = None
        if with_alpha:
            rgba = (tile.convert("LA") if tile.mode == "La" else tile).convert("RGBA")
            alpha = rgba.getchannel("A")
            tile = tile.convert("L") if tile.mode == "LA" else tile if tile.mode == "L" else rgba
        colour = to_srgb(tile)
        if alpha is not None:
            colour.putalpha(alpha)
        converted.paste(colour, box)
    return converted


def _colours(mode: str, with_alpha: bool) -> str:
    """The mode of a tile's colours before conversion to sRGB."""
    if mode in ("L", "LA"):
        return "L"
    return "RGBA" if with_alpha else mode


def _scaling(image: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    """A function that converts tiles of more than 8 bits to 8, which Pillow would clip; None for other images."""
    if not image.mode.startswith(("I", "F")):
        return None
    tags = getattr(image, "tag_v2", {})
    lowest, highest = _extremes(image, wraps=False)
    # Pillow reads unsigned 32 bits as signed.
    wraps = image.mode == "I" and lowest < 0 and UNSIGNED in np.ravel(tags.get(SAMPLE_FORMAT_TAG, UNSIGNED))
    if wraps:
        lowest, highest = _extremes(image, wraps)
    least = min(lowest, 0.0)  # signed values have no declared range: use the image's
    white = _full_range(image.mode, highest - least)
    inverted = tags.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO

    def to_eight_bits(tile: Image.Image) -> Image.Image:
        values = (_values(tile, wraps) - least) / white
        return Image.fromarray(np.round((1 - values if inverted else values) * 255).astype(np.uint8))

    return to_eight_bits


def _values(tile: Image.Image, wraps: bool) -> np.ndarray:
    values = np.asarray(tile).astype(np.float64)
    return np.where(values < 0, values + 2.0**32, values) if wraps else values


def _extremes(image: Image.Image, wraps: bool) -> tuple[float, float]:
    """The lowest and the highest value of an image; ValueError if one is not a number."""
    lowest, highest = np.inf, -np.inf
    for box in _tiles(image.size):
        values = _values(image.crop(box), wraps)
        if not np.isfinite(values).all():
            raise ValueError("it contains values that are not finite")
        lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
    return lowest, highest


def _full_range(mode: str, highest: float) -> float:
    """The value of white: 16 bits by mode, otherwise the smallest usual range that contains the image."""
    if mode.startswith("I;16"):
        return 65535.0
    usual = (1.0, 255.0, 65535.0, 2.0**32 - 1) if mode == "F" else (255.0, 65535.0, 2.0**32 - 1)
    return next((top for top in usual if highest <= top), highest)


def _through_profile(profile: bytes | None, mode: str) -> Callable[[Image.Image], Image.Image]:
    """A function that converts tiles to `RGB`, with the embedded ICC profile if one fits their `mode`."""
    from PIL import ImageCms

    def plainly(tile: Image.Image) -> Image.Image:
        return tile.convert("RGB")

    if not profile:
        return plainly
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        wanted = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(source.profile.xcolor_space.strip())
        fits = {"RGB": mode != "CMYK", "L": mode in ("1", "L"), "CMYK": mode == "CMYK"}
        if wanted is None or not fits[wanted]:
            return plainly
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            wanted,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError):
        return plainly  # broken profile: ignored, as in viewers

    def through(tile: Image.Image) -> Image.Image:
        try:
            converted = ImageCms.applyTransform(tile.convert(wanted), transform)
        except (ImageCms.PyCMSError, ValueError):
            return plainly(tile)
        assert converted is not None  # only None if the conversion is in place
        return converted

    return through
