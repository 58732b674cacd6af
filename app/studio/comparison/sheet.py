"""The grid of a run's steps as one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.studio.comparison.step_grid import Place, StepGrid
from app.studio.generation.contact_sheet import LARGEST, LEAST, MOST_CELL, label
from app.studio.public_files import decoded

if TYPE_CHECKING:
    from PIL.Image import Image

LETTERS = 18
"""Letters of a title that fit above a column."""


def draw_sheet(grid: StepGrid, names: Sequence[str]) -> Image:
    """A table for each row below its name, one below the other; strengths without a picture are left out."""
    from PIL import Image

    from trainers.sampling.grid import PAPER, make_grid

    drawn = {strength for _, strength in grid.candidates}
    strengths = [strength for strength in grid.strengths if strength in drawn] or grid.strengths
    count = max(len(grid.steps), len(grid.rows) * len(strengths), 1)
    most = min(MOST_CELL, max(LEAST, LARGEST // count))
    pictures: dict[Place, Image.Image] = {}
    for place, path in grid.pictures.items():
        pictures[place] = decoded(path)
        pictures[place].thumbnail((most, most))  # before the next one is read: all together may not fit into memory
    sizes = {picture.size for picture in pictures.values()} or {(LEAST, LEAST)}
    empty = Image.new("RGB", min(sizes), PAPER)
    columns, tables = [label("step", step) for step in grid.steps], []
    for row, name in zip(grid.rows, names, strict=True):
        lines = [
            (label("strength", strength), [pictures.get((row, step, strength), empty) for step in grid.steps])
            for strength in strengths
        ]
        title = textwrap.shorten(name, LETTERS * (1 + len(columns)), placeholder=" …")
        tables.append(make_grid(lines, columns, title, min(max(max(sizes)), most)))
    sheet = Image.new("RGB", (tables[0].width, sum(table.height for table in tables)), PAPER)
    top = 0
    for table in tables:
        sheet.paste(table, (0, top))
        top += table.height
    return sheet
