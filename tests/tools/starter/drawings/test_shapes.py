"""Images out of nothing: each a function of its number, none flat, drawn once."""

from __future__ import annotations

import numpy as np

from tools.starter.drawings.shapes import SIZE, draw_one, draw_shapes, texture


def test_images_are_drawn_in_order_once_and_reused(tmp_path):
    images = draw_shapes(tmp_path, 3)
    assert images.shape == (3, SIZE, SIZE, 3) and images.dtype == np.uint8
    assert all(np.array_equal(images[seed], draw_one(seed)) for seed in range(3))
    assert [path.name for path in tmp_path.iterdir()] == ["shapes.npy"]
    darker = images[:2] // 2
    np.save(tmp_path / "shapes.npy", darker)
    assert np.array_equal(draw_shapes(tmp_path, 3), darker)


def test_a_texture_has_the_spectrum_of_natural_surfaces():
    slopes = []
    for seed in range(12):
        surface = texture(np.random.default_rng(seed)).mean(2)
        power = np.abs(np.fft.rfft2(surface - surface.mean())) ** 2
        radius = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None]) * SIZE
        rings = [power[(radius >= low) & (radius < 2 * low)].mean() for low in (4, 8, 16, 32)]
        slopes.append(np.polyfit(np.log([4, 8, 16, 32]), np.log(rings), 1)[0])
    assert -4.6 < min(slopes) < max(slopes) < -1  # amplitudes fall as f^-0.6 … f^-2.2
