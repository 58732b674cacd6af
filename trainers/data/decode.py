"""Image files of every usual kind, decoded to one kind: first frame, upright, sRGB, 8 bits, RGB or RGBA.

The file is never trusted: only formats on the list are tried, the size is checked in the header before anything is
decoded, and links that lead out of the folder are not followed.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from trainers.errors import VelaturaError

MAX_PIXELS = 100_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF")
FORMATS_IN_WORDS = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC"

# What decoders raise on broken files; several of Pillow's let plain Python errors through.
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
PHOTOMETRIC_TAG, SAMPLE_FORMAT_TAG = 262, 339
WHITE_IS_ZERO, UNSIGNED = 0, 1


class UnreadableError(VelaturaError):
    """A file that cannot be used; `reason` completes the sentence that starts with its name."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}.")
        self.reason = reason


def open_image(path: Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image file to an upright 8-bit sRGB image, `RGB`, or `RGBA` where part of it is transparent.

    Raises UnreadableError for whatever is not a readable image of an allowed format and size.
    """
    from pillow_heif import register_heif_opener

    register_heif_opener()
    _check_file(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise UnreadableError(path.name, _too_large(f"{image.width} × {image.height} pixels", max_pixels))
            image.load()
            return _upright(_standard(image), _orientation(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableError(
            path.name, _too_large(f"over {max_pixels // 10**6} million pixels", max_pixels)
        ) from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableError(path.name, _what_it_is(path)) from error
    except DECODING_ERRORS as error:
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnreadableError(path.name, f"is damaged and cannot be decoded ({detail})") from error


def _check_file(path: Path) -> None:
    if leaves_folder(path):
        raise UnreadableError(path.name, "is a link to a file outside its folder, which is not followed")
    if not path.is_file():
        raise UnreadableError(path.name, "is not a file" if path.exists() else "does not exist")


def leaves_folder(path: Path) -> bool:
    """Whether `path` is a link to something outside its folder."""
    return path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve())


def flatten(image: Image.Image) -> Image.Image:
    """Lay an image on white; the result is `RGB`."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def alpha_mask(image: Image.Image) -> Image.Image | None:
    """The opacity of an `RGBA` image as an `L` image (255 = opaque), or None where nothing is transparent."""
    return image.getchannel("A") if image.mode == "RGBA" else None


def _too_large(found: str, max_pixels: int) -> str:
    return f"is too large ({found}; at most {max_pixels // 10**6} million pixels are decoded: make it smaller)"


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "is empty"
    if b"<svg" in start:
        return "is an SVG drawing, which is not read: export it as PNG"
    # A multi-byte letter may be cut at the end of what was read, hence "ignore" after the check for control bytes.
    printable = not any(byte < 9 or 13 < byte < 32 for byte in start)
    if printable and len(start.decode("utf-8", "ignore").encode()) >= len(start) - 3:
        return "holds text, not an image"
    return f"is not an image in a format that can be read ({FORMATS_IN_WORDS})"


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except DECODING_ERRORS:
        return 1  # broken EXIF says nothing about the pixels, which are fine


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _standard(image: Image.Image) -> Image.Image:
    """sRGB without metadata; the alpha channel stays only where something is transparent."""
    profile = image.info.get("icc_profile")
    image = _eight_bit(image)
    alpha = None
    if image.has_transparency_data:
        if "transparency" in image.info and image.mode == "RGB":
            # A key colour of a 16-bit PNG is given in 16 bits, but Pillow has read the pixels as 8 bits.
            key = image.info["transparency"]
            image.info["transparency"] = tuple(value >> 8 for value in key) if max(key) > 255 else key
        rgba = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        alpha = rgba.getchannel("A")
        if image.mode not in ("L", "LA"):
            image = rgba
        if alpha.getextrema() == (255, 255):
            alpha = None
    colour = _to_srgb(image, profile)
    if alpha is not None:
        colour.putalpha(alpha)
    colour.info = {}
    return colour


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale what has more than 8 bits, where Pillow's own conversion would clip; other images pass through."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not numbers")
    tags = getattr(image, "tag_v2", {})
    lowest, highest = float(np.min(values)), float(np.max(values))
    if image.mode == "I" and lowest < 0 and UNSIGNED in np.ravel(tags.get(SAMPLE_FORMAT_TAG, UNSIGNED)):
        values = np.where(values < 0, values + 2.0**32, values)  # Pillow reads unsigned 32 bits as signed
        lowest, highest = float(np.min(values)), float(np.max(values))
    if lowest < 0:  # no range is given for signed values: take the image's own
        values, highest = values - lowest, highest - lowest
    values = values / _full_range(image.mode, highest)
    if tags.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO:
        values = 1 - values
    return Image.fromarray(np.round(values * 255).astype(np.uint8))


def _full_range(mode: str, highest: float) -> float:
    """The value of white: 16 bits by mode, else the smallest usual range that holds the image."""
    if mode.startswith("I;16"):
        return 65535.0
    usual = (1.0, 255.0, 65535.0, 2.0**32 - 1) if mode == "F" else (255.0, 65535.0, 2.0**32 - 1)
    return next((top for top in usual if highest <= top), highest)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to `RGB` through the embedded ICC profile, or plainly where there is none that fits the pixels."""
    from PIL import ImageCms

    if image.mode == "LA":
        image = image.convert("L")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(source.profile.xcolor_space.strip())
            grey = image.mode in ("1", "L")
            fits = {"RGB": image.mode != "CMYK", "L": grey, "CMYK": image.mode == "CMYK"}
            if mode is not None and fits[mode]:
                converted = ImageCms.profileToProfile(
                    image.convert(mode),
                    source,
                    ImageCms.createProfile("sRGB"),
                    renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                    outputMode="RGB",
                    flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
                )
                assert converted is not None  # only None where the conversion is in place
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile: the pixels are shown as viewers show them, without it
    return image.convert("RGB")
