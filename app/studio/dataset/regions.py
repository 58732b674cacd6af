"""Masks of a draft's pictures, as people draw or upload them."""

from __future__ import annotations

from pathlib import Path

MASK_SIDE = 1024
"""Maximum width and height of stored masks: a latent pixel is eight pixels of a picture."""


def keep_mask(drawn: Path, picture: str, size: tuple[int, int], masks: Path, previews: Path) -> str:
    """Keep a drawn mask for the picture of that id and `size` (height, width); its key, "" if it is all white.

    Raises UnreadableError if it cannot be read, is all black, or has another shape than the picture.
    """
    from PIL import Image

    from trainers.atomic_files import whole_file
    from trainers.data.decode import UnreadableError
    from trainers.data.likeness import pixel_hash
    from trainers.data.source import has_shape_of, open_mask, wrong_shape

    mask = open_mask(drawn, (2 * MASK_SIDE) ** 2)
    height, width = size
    if not has_shape_of(mask.size, (width, height)):
        raise wrong_shape(drawn.name, drawn.name, mask.size, (width, height))
    scale = min(1.0, MASK_SIDE / max(width, height))
    mask = mask.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR)
    darkest, lightest = mask.getextrema()
    if lightest == 0:
        raise UnreadableError(drawn.name, "{name} is all black, so nothing of its picture would be learned")
    if darkest == 255:
        return ""
    key = pixel_hash(mask)[:16]
    for folder in (masks, previews):
        with whole_file(folder / f"{picture}-{key}.png") as building:
            mask.save(building, "PNG")
    return key
