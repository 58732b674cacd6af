"""Make the bundled image sets again from their sources: `python -m tools.samples.build`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from tools.command import reports_errors
from tools.icons import icon_name
from tools.samples.draw_icons import draw_icons
from tools.samples.photographs import cut_photographs
from tools.samples.sources import Drawings, find_source
from trainers.data.sample_sets import SampleSet, read_sets

SIZE = 256  # pixels: twice the starter's size, so that other bases have something to look at too
SAVING: Mapping[str, Mapping[str, Any]] = {
    ".png": {"optimize": True},
    ".jpg": {"optimize": True, "quality": 90},
}


def make_images(sample_set: SampleSet, folder: Path) -> dict[str, Image.Image]:
    """The set's images by concept, `SIZE`×`SIZE`, from its package, which is kept in `folder`.

    Raises VelaturaError if the package cannot be had or is not the recorded one.
    """
    source = find_source(sample_set)
    if isinstance(source, Drawings):
        return draw_icons(source, sample_set.concepts, SIZE, folder)
    return cut_photographs(source, SIZE, folder)


def write_set(sample_set: SampleSet, images: Mapping[str, Image.Image]) -> None:
    """Replace the set's images and captions; the licence file stays."""
    for old in sample_set.folder.iterdir():
        if old.suffix in {".txt", *SAVING} and old.name != "LICENSE.txt":
            old.unlink()
    suffix = find_source(sample_set).suffix
    for concept, image in images.items():
        stem = sample_set.folder / icon_name(concept)
        image.save(stem.with_suffix(suffix), **SAVING[suffix])
        stem.with_suffix(".txt").write_text(concept + "\n", encoding="utf-8", newline="\n")


@reports_errors
def main() -> int:
    """Fetch, verify and make every set; returns the exit code."""
    for sample_set in read_sets().values():
        with tempfile.TemporaryDirectory() as folder:
            write_set(sample_set, make_images(sample_set, Path(folder)))
        size = sum(path.stat().st_size for path in sample_set.folder.iterdir())
        print(f"{sample_set.name}: {len(sample_set.concepts)} images, {size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
