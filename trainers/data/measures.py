"""Sharpness and contrast of an image."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Measured at the training size: sharp photographs lie above 0.024 and drawings above 0.1, a Gaussian blur of 1 pixel
# leaves 0.0035 or more, one of 3 pixels at most 0.0014 on photographs. Doubtful images are left alone.
BLURRED = 0.002
UNIFORM = 4.0

BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
# A rounded channel is off by a variance of 1/12, and the Laplacian's weights squared sum to 4 · 1² + 4² = 20.
ROUNDING = float((BRIGHTNESS**2).sum()) * 20 / 12


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
