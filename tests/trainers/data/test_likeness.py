from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.trainers.data import pictures
from trainers.data.likeness import BLURRED, UNIFORM, contrast, fingerprint, near_duplicates, pixel_hash, sharpness


def recompressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.BICUBIC).save(file, "JPEG", quality=70)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def test_pixel_hash_sees_one_step_in_one_pixel_and_the_shape() -> None:
    image = pictures.scene(1)
    changed = image.copy()
    changed.putpixel((5, 5), tuple(np.add(changed.getpixel((5, 5)), (1, 0, 0)) % 256))
    assert pixel_hash(image) == pixel_hash(image.copy()) != pixel_hash(changed)
    assert pixel_hash(Image.new("RGB", (4, 2))) != pixel_hash(Image.new("RGB", (2, 4)))


def test_copies_are_near_and_other_pictures_are_not() -> None:
    originals = [pictures.scene(seed, (240, 160)) for seed in range(30)]
    copies = [recompressed(image) for image in originals]
    groups = near_duplicates([fingerprint(image) for image in originals + copies])
    assert groups == [(index, index + 30) for index in range(30)]


def test_same_drawing_in_another_colour_or_with_another_detail_is_not_near() -> None:
    face = Image.new("RGB", (128, 128), "white")
    face.paste("yellow", (16, 16, 112, 112))
    blue, winking = face.copy(), face.copy()
    blue.paste((120, 200, 255), (16, 16, 112, 112))
    winking.paste("black", (40, 40, 60, 60))
    assert near_duplicates([fingerprint(image) for image in (face, blue, winking)]) == []


def test_faint_drawings_are_compared_by_their_own_contrast() -> None:
    paper = Image.new("RGB", (240, 160), (240, 236, 225))
    faint = [Image.blend(paper, pictures.scene(seed, paper.size), 0.2) for seed in range(8)]
    prints = [fingerprint(image) for image in faint]
    assert max(np.linalg.norm(prints[0] - other) for other in prints) < 0.12, "they are alike in absolute terms"
    assert near_duplicates(prints) == []


def test_groups_join_chains() -> None:
    image = pictures.scene(4, (128, 128))
    steps = [fingerprint(ImageEnhance.Brightness(image).enhance(1 - 0.02 * step)) for step in range(12)]
    assert near_duplicates([steps[0], steps[11]]) == []
    assert near_duplicates(steps) == [tuple(range(12))]


def test_uniform_images_of_one_colour_are_near() -> None:
    prints = [fingerprint(Image.new("RGB", (80, 80), colour)) for colour in ("white", "black", (254, 254, 254))]
    assert near_duplicates(prints) == [(0, 2)]
    assert near_duplicates([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_sharpness_tells_blur_but_not_faintness(seed: int) -> None:
    from PIL import ImageFilter

    image = pictures.scene(seed, (512, 384))
    faint = Image.blend(Image.new("RGB", image.size, "grey"), image, 0.15)
    assert sharpness(image) > 5 * BLURRED and sharpness(faint) > 5 * BLURRED
    assert sharpness(image.filter(ImageFilter.GaussianBlur(1))) > BLURRED
    assert sharpness(image.filter(ImageFilter.GaussianBlur(5))) < BLURRED


def test_sharpness_is_the_laplacians_share_of_the_variance() -> None:
    values = np.zeros((5, 5), np.uint8)
    values[2, 2] = 100
    # Laplacian inside the border, (3, 3): −400 in the middle and 100 beside it four times.
    laplacian = np.array([0, 100, 0, 100, -400, 100, 0, 100, 0], float)
    image = Image.fromarray(values).convert("RGB")
    rounding = (0.299**2 + 0.587**2 + 0.114**2) * 20 / 12
    assert sharpness(image) == pytest.approx((laplacian.var() - rounding) / values.astype(float).var(), rel=1e-5)
    assert sharpness(Image.new("RGB", (8, 8))) == 0 and sharpness(Image.new("RGB", (2, 1))) == 0


def test_contrast_is_of_the_strongest_channel() -> None:
    values = np.zeros((2, 2, 3), np.uint8)
    values[0, :, 2] = 100
    assert contrast(Image.fromarray(values)) == 50
    assert contrast(Image.new("RGB", (9, 9), "red")) == 0 < UNIFORM
