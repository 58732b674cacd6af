from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.trainers.data import pictures
from trainers.data import decode
from trainers.data.decode import UnreadableError, alpha_mask, flatten, open_image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF")


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    from pillow_heif import register_heif_opener

    register_heif_opener()
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def opened(tmp_path: Path, data: bytes, name: str = "image.png", max_pixels: int = decode.MAX_PIXELS) -> Image.Image:
    path = tmp_path / name
    path.write_bytes(data)
    return open_image(path, max_pixels)


def grey(image: Image.Image) -> list[int]:
    values = np.asarray(image)
    assert (values == values[..., :1]).all(), "not grey"
    return values[..., 0].ravel().tolist()


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_the_picture(tmp_path: Path, format: str) -> None:
    picture = pictures.scene()
    image = opened(tmp_path, encoded(picture, format))
    assert image.mode == "RGB" and image.size == picture.size and image.info == {}
    off = np.abs(np.asarray(image, float) - np.asarray(picture, float)).mean()
    assert off == 0 if format in ("PNG", "BMP", "TIFF") else off < 10, off


# The corners of the upright picture (top left, top right, bottom left, bottom right) among the stored ones, by EXIF's
# definition of where row 0 and column 0 belong.
UPRIGHT = {1: "ABCD", 2: "BADC", 3: "DCBA", 4: "CDAB", 5: "ACBD", 6: "CADB", 7: "DBCA", 8: "BDAC"}
COLOURS = {"A": "red", "B": "lime", "C": "blue", "D": "yellow"}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path: Path, format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    image = opened(tmp_path, encoded(pictures.quadrants(*COLOURS.values()), format, exif=exif.tobytes()))
    assert image.size == ((32, 16) if orientation < 5 else (16, 32))
    w, h = image.size
    corners = [image.getpixel(place) for place in ((2, 2), (w - 3, 2), (2, h - 3), (w - 3, h - 3))]
    for seen, corner in zip(corners, UPRIGHT[orientation], strict=True):
        colour = Image.new("RGB", (1, 1), COLOURS[corner]).getpixel((0, 0))
        assert np.abs(np.subtract(seen, colour)).max() < 70, (orientation, format, corners)


def test_broken_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    data = encoded(pictures.scene(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert opened(tmp_path, data).size == (96, 64)


RAMP = np.array([[0, 200, 257, 1000, 32768, 65000, 65535]], np.uint16)
SCALED = np.round(RAMP / 257).astype(int).ravel().tolist()


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    assert grey(opened(tmp_path, pictures.png(RAMP[..., None], 0))) == SCALED
    assert grey(opened(tmp_path, pictures.tiff(RAMP, 1, 1))) == SCALED
    assert grey(opened(tmp_path, pictures.tiff(RAMP, 0, 1))) == [255 - v for v in SCALED]  # white is zero
    assert grey(opened(tmp_path, encoded(Image.fromarray(RAMP), "TIFF"))) == SCALED


def test_thirty_two_bits_and_floats(tmp_path: Path) -> None:
    wide = RAMP.astype(np.uint32) * 65537
    assert grey(opened(tmp_path, pictures.tiff(wide, 1, 1))) == SCALED
    assert grey(opened(tmp_path, pictures.tiff(RAMP.astype(np.int32), 1, 2))) == SCALED
    assert grey(opened(tmp_path, pictures.tiff((RAMP / 65535).astype(np.float32), 1, 3))) == SCALED
    assert grey(opened(tmp_path, pictures.tiff(RAMP.astype(np.float32), 1, 3))) == SCALED
    signed = np.array([[-100, 0, 155]], np.int32)
    assert grey(opened(tmp_path, pictures.tiff(signed, 1, 2))) == [0, 100, 255]
    with pytest.raises(UnreadableError, match=r"image.png is damaged"):
        opened(tmp_path, pictures.tiff(np.array([[0.5, np.nan]], np.float32), 1, 3))


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_colour_is_at_most_one_step_off(tmp_path: Path, colour_type: int, channels: int) -> None:
    image = opened(tmp_path, pictures.png(np.repeat(RAMP[..., None], channels, 2), colour_type))
    assert image.mode == ("RGB" if channels == 3 else "RGBA")
    assert np.abs(np.array(grey(image)) - np.array(SCALED)).max() <= 1


def test_sixteen_bit_key_colour_becomes_transparent(tmp_path: Path) -> None:
    values = np.array([[[65535, 0, 40000], [1, 2, 3]]], np.uint16)
    image = opened(tmp_path, pictures.png(values, 2, key=(65535, 0, 40000)))
    assert np.asarray(image)[0, :, 3].tolist() == [0, 255]


def test_transparency_of_every_kind(tmp_path: Path) -> None:
    alpha = np.array([[0, 128, 255]], np.uint8)
    value = np.array([[10, 20, 30]], np.uint8)
    rgba = Image.fromarray(np.stack([value, value, value, alpha], 2))
    image = opened(tmp_path, encoded(rgba, "PNG"))
    assert np.asarray(image).tolist() == np.asarray(rgba).tolist()
    la = Image.merge("LA", (Image.fromarray(value), Image.fromarray(alpha)))
    assert np.asarray(opened(tmp_path, encoded(la, "PNG"))).tolist() == np.asarray(rgba).tolist()
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    image = opened(tmp_path, encoded(palette, "PNG", transparency=b"\x40\xff"))
    assert np.asarray(image)[0].tolist() == [[255, 0, 0, 64], [0, 0, 255, 255]]
    grey_key = opened(tmp_path, encoded(Image.fromarray(value), "PNG", transparency=20))
    assert np.asarray(grey_key)[0].tolist() == [[10, 10, 10, 255], [20, 20, 20, 0], [30, 30, 30, 255]]
    gif = opened(tmp_path, encoded(palette, "GIF", transparency=1))
    assert gif.mode == "RGBA" and gif.getchannel("A").tobytes() == b"\xff\x00"


def test_opaque_alpha_is_dropped(tmp_path: Path) -> None:
    image = opened(tmp_path, encoded(pictures.scene().convert("RGBA"), "PNG"))
    assert image.mode == "RGB" and alpha_mask(image) is None


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette(tmp_path: Path, mode: str) -> None:
    picture = pictures.scene().convert(mode)
    assert np.array_equal(np.asarray(opened(tmp_path, encoded(picture, "PNG"))), np.asarray(picture.convert("RGB")))


def test_flatten_lays_on_white() -> None:
    image = Image.new("RGBA", (1, 1), (200, 100, 0, 51))  # a fifth opaque
    assert flatten(image).getpixel((0, 0)) == (244, 224, 204)
    mask = alpha_mask(image)
    assert mask is not None and mask.mode == "L" and mask.getpixel((0, 0)) == 51


def test_cmyk_without_and_with_profile(tmp_path: Path) -> None:
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    plain = opened(tmp_path, encoded(inks, "JPEG", quality=100))
    assert np.abs(np.subtract(plain.getpixel((8, 8)), (255, 0, 0))).max() < 6
    # In this profile magenta and yellow leave no mark, so the same inks are white, and cyan alone is black.
    profile = pictures.cmyk_all_lightness()
    white = opened(tmp_path, encoded(inks, "JPEG", quality=100, icc_profile=profile))
    assert min(white.getpixel((8, 8))) > 245
    black = opened(tmp_path, encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "TIFF", icc_profile=profile))
    assert max(black.getpixel((8, 8))) < 10


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_profile_is_applied(tmp_path: Path, format: str) -> None:
    red = Image.new("RGB", (16, 16), "red")
    image = opened(tmp_path, encoded(red, format, icc_profile=pictures.red_and_blue_swapped()))
    assert np.abs(np.subtract(image.getpixel((8, 8)), (0, 0, 255))).max() < 12


def test_profile_keeps_alpha(tmp_path: Path) -> None:
    red = Image.new("RGBA", (2, 1), (255, 0, 0, 77))
    image = opened(tmp_path, encoded(red, "PNG", icc_profile=pictures.red_and_blue_swapped()))
    pixel = image.getpixel((0, 0))
    assert pixel[3] == 77 and pixel[2] > 240 > 15 > pixel[0]


def test_grey_profile(tmp_path: Path) -> None:
    linear = pictures.linear_grey()
    for mode, white in (("L", 255), ("LA", (255, 255))):
        image = Image.new(mode, (1, 1), white if mode == "L" else (55, 100))
        if mode == "L":
            image = Image.new("L", (1, 1), 55)
        seen = opened(tmp_path, encoded(image, "PNG", icc_profile=linear)).getpixel((0, 0))
        # sRGB of linear light 55/255: 1.055 · 0.2157^(1/2.4) − 0.055 = 0.502
        assert all(abs(value - 128) <= 1 for value in seen[:3])


@pytest.mark.parametrize("broken", [b"not a profile", pictures.linear_grey(), pictures.red_and_blue_swapped()[:200]])
def test_profile_that_does_not_fit_is_left_out(tmp_path: Path, broken: bytes) -> None:
    picture = pictures.scene()
    image = opened(tmp_path, encoded(picture, "PNG", icc_profile=broken))
    assert np.array_equal(np.asarray(image), np.asarray(picture))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_first_frame_of_an_animation(tmp_path: Path, format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    image = opened(tmp_path, encoded(frames[0], format, save_all=True, append_images=frames[1:]))
    assert np.abs(np.subtract(image.getpixel((8, 8)), (255, 0, 0))).max() < 10


def header_only(width: int, height: int) -> bytes:
    return pictures.png_of((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""))


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_001, 10_000), (100_000, 3_000)])
def test_bomb_is_refused_by_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(UnreadableError, match=r"bomb.png is too large: .*100 million"):
        opened(tmp_path, header_only(*size), "bomb.png")


def test_pillows_own_bomb_warning_as_error(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableError, match=r"too large"):
            opened(tmp_path, header_only(9_900, 9_900))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"a fox in the snow\n", "fox.png holds text, not an image"),
        (b"\xff\xd8\xff and this is no picture", "fox.png is damaged and cannot be opened (JPEG); copy or export"),
        (b"%PDF-1.7\n%...", "fox.png is a PDF, which is not supported: export its pages as PNG"),
        ("Fuchs im Schnee, größer".encode(), "fox.png holds text, not an image"),
        (b"", "fox.png is empty"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "fox.png is an SVG drawing"),
        (b"\x00\x01\x02\x03" * 40, "fox.png is not an image in a supported format"),
        (b"P6 1 1 255\n\x01\x02\x03", "fox.png is not an image in a supported format"),
        (encoded(pictures.scene(), "ICO"), "fox.png is not an image in a supported format"),
        (encoded(pictures.scene(), "TGA"), "fox.png is not an image in a supported format"),
        (encoded(pictures.scene(), "JPEG")[:700], "fox.png is damaged and cannot be opened"),
        (encoded(pictures.scene(), "PNG")[:200], "fox.png is damaged and cannot be opened"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, data: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        opened(tmp_path, data, "fox.png")
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)
    assert caught.value.about("It") == str(caught.value).replace("fox.png", "It")


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UnreadableError, match=r"folder.png is not a file"):
        open_image(tmp_path / "folder.png")
    with pytest.raises(UnreadableError, match=r"gone.png does not exist"):
        open_image(tmp_path / "gone.png")


def test_links_are_followed_only_inside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    pictures.scene().save(tmp_path / "secret.png")
    pictures.scene().save(folder / "fox.png")
    (folder / "inside.png").symlink_to("fox.png")
    (folder / "outside.png").symlink_to("../secret.png")
    assert open_image(folder / "inside.png").size == (96, 64)
    with pytest.raises(UnreadableError, match=r"outside.png is a link to a file outside its folder"):
        open_image(folder / "outside.png")


SMALL = {format: encoded(pictures.scene(3, (24, 16)), format) for format in FORMATS}


@settings(max_examples=150)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_damage_never_escapes_as_another_error(
    tmp_path: Path, format: str, changes: list[tuple[float, int]], length: float
) -> None:
    data = bytearray(SMALL[format])
    for place, value in changes:
        data[int(place**2 * len(data))] = value  # mostly in the header
    data = data[: max(1, int(len(data) * min(1, length + 0.5)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = opened(tmp_path, bytes(data), max_pixels=200_000)
        except UnreadableError as error:
            assert str(error).startswith("image.png ")
        else:
            assert image.mode in ("RGB", "RGBA") and image.width * image.height <= 200_000


def noise(mode: str, size: tuple[int, int]) -> Image.Image:
    """An image of this mode with a different value in nearly every pixel."""
    width, height = size
    values = np.random.default_rng(width * 100 + height).integers(0, 256, (height, width, 4), dtype=np.uint8)
    match mode:
        case "F":
            return Image.fromarray(values[..., 0].astype(np.float32) / 100 - 0.5)
        case "I":
            return Image.fromarray(values[..., 0].astype(np.int32) * 300 - 1000)
        case "I;16":
            return Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(values, "RGBA").convert("RGB" if mode == "P" else "RGBA").convert(mode)


KINDS = [
    *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("TIFF", mode) for mode in ("F", "I", "CMYK", "RGBA")),
    *(("WEBP", mode) for mode in ("RGB", "RGBA")),
]


@pytest.mark.slow
@settings(max_examples=80)
@given(st.sampled_from(KINDS), st.integers(1, 40), st.integers(1, 40), st.integers(1, 2000), st.booleans())
def test_any_size_is_decoded_alike_in_tiles_and_as_a_whole(
    tmp_path: Path, kind: tuple[str, str], width: int, height: int, kept: int, with_profile: bool
) -> None:
    format, mode = kind
    profile = {"icc_profile": pictures.red_and_blue_swapped()} if with_profile and mode in ("RGB", "RGBA") else {}
    lossless = {"lossless": True} if format == "WEBP" else {}
    data = encoded(noise(mode, (width, height)), format, **profile, **lossless)
    whole = opened(tmp_path, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "TILE", 7)
        tiled = opened(tmp_path, data)
        assert np.array_equal(np.asarray(flatten(tiled)), np.asarray(flatten(whole)))
    assert tiled.mode == whole.mode and np.array_equal(np.asarray(tiled), np.asarray(whole))
    assert whole.size == (width, height)
    small = open_image(tmp_path / "image.png", keep_pixels=kept)
    assert small.size == whole.size if kept >= width * height else small.width * small.height <= kept + width + height
