"""Icons as sample images: fetched from the npm registry, laid on white and reduced to a palette."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tools.icons import compose_svg, draw_svg, fetch_package, icon_name, read_table
from tools.samples.sources import Drawings


def draw_icons(drawings: Drawings, concepts: Sequence[str], size: int, folder: Path) -> dict[str, Image.Image]:
    """The concepts' icons, `size`×`size`; the package is kept in `folder`.

    Raises VelaturaError if the package cannot be had, is not the recorded one, or lacks a concept.
    """
    table = read_table(fetch_package(drawings.package, drawings.version, drawings.integrity, folder))
    return {concept: draw(compose_svg(table, icon_name(concept)), size, drawings.colours) for concept in concepts}


def draw(svg: str, size: int, colours: int) -> Image.Image:
    """Render an SVG on white as a `size`×`size` palette image of at most `colours` colours."""
    canvas = Image.new("RGBA", (size, size), "white")
    canvas.alpha_composite(draw_svg(svg, size))
    # No dither: flat areas stay flat, and the file stays small.
    return canvas.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
