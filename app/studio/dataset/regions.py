"""Crops and masks of a draft's pictures: kept with the draft, written beside the pictures for training."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.studio.dataset.drafts import Draft, Picture

MASK_SIDE = 1024
"""Stored masks are at most that wide and high: a latent pixel is eight pixels of a picture."""


def write_region(picture: Picture, masks: Path, place: Path) -> None:
    """Write a picture's crop and mask beside `place`, under which it is trained."""
    from trainers.data.source import Crop, crop_file, mask_file

    if picture.crop is not None:
        crop_file(place).write_text(Crop(*picture.crop).to_json(), encoding="utf-8")
    if picture.mask:
        shutil.copyfile(masks / f"{picture.id}-{picture.mask}.png", mask_file(place))


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


def known_masks(draft: Draft, pictures: Iterable[Picture]) -> set[tuple[str, str]]:
    """Every mask of a draft by picture and key: of its `pictures` and of what undoing brings back."""
    before = known_masks(draft.aside, ()) if draft.aside is not None else set()
    changed = {(id, one.mask) for step in draft.undo for id, both in step.regions.items() for one in both}
    return before | {(id, mask) for id, mask in changed if mask} | {(one.id, one.mask) for one in pictures if one.mask}
