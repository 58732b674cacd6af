from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.trainers.data import pictures
from trainers.data.buckets import Bucket, bucket_for, cropped_share, fit
from trainers.errors import VelaturaError

sides = st.one_of(st.integers(1, 300), st.integers(1, 20_000))


@settings(max_examples=400)
@given(sides, sides, st.integers(8, 1100), st.sampled_from([8, 32, 64]), st.floats(1, 4), st.floats(1, 16))
def test_invariants(width: int, height: int, resolution: int, stride: int, aspect: float, upscale: float) -> None:
    if resolution < stride:
        with pytest.raises(VelaturaError, match=f"{resolution} pixels, but this base needs at least {stride}"):
            bucket_for(width, height, resolution, stride, aspect, upscale)
        return
    bucket = bucket_for(width, height, resolution, stride, aspect, upscale)
    w, h = bucket.width, bucket.height
    least = min(2 * stride, resolution // stride * stride)
    assert w % stride == 0 and h % stride == 0 and min(w, h) >= least
    assert w * h <= resolution**2
    assert max(w / h, h / w) <= aspect + 1e-9
    assert bucket.scale == max(w / width, h / height)
    # Enlarged beyond the limit only at the smallest bucket, and flagged then and only then.
    assert bucket.enlarged == (bucket.scale > upscale)
    if bucket.enlarged:
        assert min(w, h) == least and w * h <= least**2
    # Trained smaller only where the full-size bucket would be enlarged too much, and flagged then and only then.
    full = bucket_for(10**6 * width, 10**6 * height, resolution, stride, aspect, upscale)
    if bucket.reduced:
        assert max(full.width / width, full.height / height) > upscale
    elif not bucket.enlarged:
        fits = max(full.width / width, full.height / height) <= upscale
        assert bucket.shape == full.shape if fits else resolution % stride
    assert 0 <= cropped_share((height, width), bucket) < 1
    # Turned by a quarter, the same bucket is turned too.
    turned = bucket_for(height, width, resolution, stride, aspect, upscale)
    assert turned.width * turned.height == w * h and {turned.width, turned.height} == {w, h}


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((1000, 1000), (512, 512)),
        ((1500, 1000), (640, 384)),
        ((1000, 1500), (384, 640)),
        ((4000, 3000), (576, 448)),
        ((10_000, 1000), (768, 320)),
    ],
)
def test_known_buckets(size: tuple[int, int], shape: tuple[int, int]) -> None:
    bucket = bucket_for(*size, 512, 64, 2.5, 1.5)
    assert (bucket.width, bucket.height) == shape and not bucket.reduced


def test_aspect_limit_of_one_is_squares_only() -> None:
    assert bucket_for(3000, 1000, 512, 64, 1.0, 1.5).shape == (512, 512)
    assert bucket_for(3000, 1000, 512, 64, 4.0, 1.5).shape != (512, 512)


def test_small_images_are_trained_smaller() -> None:
    assert bucket_for(350, 350, 512, 64, 2, 1.5).shape == (512, 512)  # 1.46 times
    small = bucket_for(300, 300, 512, 64, 2, 1.5)
    assert small.shape == (448, 448) and small.reduced and not small.enlarged and small.scale == 448 / 300
    assert bucket_for(300, 300, 512, 64, 2, 1.8).shape == (512, 512)
    tiny = bucket_for(10, 12, 512, 64, 2, 1.5)
    assert tiny.shape == (128, 128) and tiny.enlarged and tiny.reduced


@settings(max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.floats(0, 1), st.floats(0, 1))
def test_fit_gives_exactly_the_bucket(width: int, height: int, down: float, right: float) -> None:
    bucket = bucket_for(width, height, 64, 8, 2, 1.5)
    image, original, (top, left) = fit(pictures.scene(1, (width, height)), bucket, (down, right))
    assert image.size == (bucket.width, bucket.height) and original == (height, width)
    assert 0 <= top <= max(0, round(height * bucket.scale) - bucket.height)
    assert 0 <= left <= max(0, round(width * bucket.scale) - bucket.width)
    assert top == 0 or left == 0, "only one direction is cut"


def test_fit_cuts_where_it_is_told() -> None:
    # Columns count 0, 10, 20 …; the bucket is half as wide, nothing is resized.
    image = Image.fromarray(np.tile(np.arange(0, 160, 10, dtype=np.uint8), (8, 1)))
    bucket = Bucket(8, 8, 1.0, False, False)
    for right, left in ((0.0, 0), (0.5, 4), (1.0, 8)):
        cut, original, place = fit(image, bucket, (0.9, right))
        assert original == (8, 16) and place == (0, left)
        assert np.asarray(cut)[3].tolist() == list(range(10 * left, 10 * left + 80, 10))


def test_fit_resizes_without_squeezing() -> None:
    image = Image.new("L", (64, 16), 0)
    image.paste(255, (24, 0, 40, 16))  # a white square in the middle
    cut, _, place = fit(image, Bucket(16, 8, 0.5, False, False), (0.5, 0.5))
    assert place == (0, 8)
    row = np.asarray(cut)[4, [0, 2, 5, 6, 9, 10, 13, 15]].astype(int)
    assert np.abs(row - [0, 0, 255, 255, 255, 255, 0, 0]).max() <= 4  # the filter rings a little beside the edges


def test_enlarging_is_smooth() -> None:
    image = Image.fromarray(np.tile(np.arange(0, 240, 30, dtype=np.uint8), (8, 1)))
    cut, _, _ = fit(image, Bucket(16, 16, 2.0, False, False), (0.5, 0.5))
    steps = np.diff(np.asarray(cut)[8, 4:12].astype(int))
    assert steps.min() >= 12 and steps.max() <= 18, "half a step for each new column, not pairs of equal ones"


def test_cropped_share() -> None:
    assert cropped_share((8, 16), Bucket(8, 8, 1.0, False, False)) == 0.5
    assert cropped_share((100, 100), Bucket(64, 64, 0.64, False, False)) == pytest.approx(0)
