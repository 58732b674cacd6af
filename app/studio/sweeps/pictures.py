"""Grids of a sweep's pictures: the same prompt and seed in each of its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.studio.runs.samples import Sample, newest_of_each, prompts_of
from app.studio.sweeps.axes import METHOD, Axis, text_of
from app.studio.sweeps.sweeps import Member
from trainers.errors import VelaturaError
from trainers.messages import joined

if TYPE_CHECKING:
    from PIL.Image import Image

Label = Callable[[Axis, Any], str]


@dataclass(frozen=True)
class GridRow:
    """A row of a grid: its label, and a sample per column; None without one."""

    label: str
    cells: tuple[tuple[Member, Sample | None], ...]


@dataclass(frozen=True)
class Grid:
    """Pictures of one prompt, or of all prompts if the runs differ in one setting."""

    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]
    title: str
    """The prompt; empty if the rows are prompts."""


def prompts(members: Sequence[Member]) -> list[str]:
    """The prompts of the runs."""
    lists = (prompts_of(view, 1 + max((s.row for s in newest_of_each(view)), default=-1)) for view in _views(members))
    return max(lists, key=len, default=[])


def make_grid(axes: Sequence[Axis], members: Sequence[Member], prompt: int = 1, label: Label | None = None) -> Grid:
    """The newest pictures of each run.

    With one axis, columns are its values and rows are prompts. With several, columns are values of the last one, rows
    of the others, and all pictures have the prompt with this number, from 1. `label` names values. Raises VelaturaError
    if there is no such prompt.
    """
    drawn = {member.name: _samples(member) for member in members}
    label = label or label_of
    known, last = prompts(members), axes[-1]
    columns = tuple(label(last, value) for value in last.values)
    if len(axes) == 1:
        rows = tuple(
            GridRow(words, tuple((member, drawn[member.name].get(row)) for member in members))
            for row, words in enumerate(known)
        )
        return Grid(columns, rows, "")
    if known and not 1 <= prompt <= len(known):
        raise VelaturaError("there is no prompt {prompt}; there are {count}", prompt=prompt, count=len(known))
    wide = len(last.values)
    groups = [members[place : place + wide] for place in range(0, len(members), wide)]
    rows = tuple(
        GridRow(
            joined(" ", [label(axis, value) for axis, value in zip(axes[:-1], group[0].values, strict=False)]),
            tuple((member, drawn[member.name].get(prompt - 1)) for member in group),
        )
        for group in groups
    )
    return Grid(columns, rows, known[prompt - 1] if known else "")


def label_of(axis: Axis, value: Any) -> str:
    """The label of a value: `lora`, `rank 4`."""
    return text_of(value) if axis.keys[0] == METHOD else f"{axis.short.replace('_', ' ')} {text_of(value)}"


def draw_sheet(grid: Grid, title: str = "", cell: int = 0) -> Image:
    """A grid as one picture, with empty cells for missing samples. VelaturaError without any sample."""
    from PIL import Image

    from trainers.sampling.grid import PAPER, make_grid

    first = next((sample for row in grid.rows for _, sample in row.cells if sample is not None), None)
    if first is None:
        raise VelaturaError("no run of this sweep has drawn a picture yet")
    with Image.open(first.path) as opened:
        size = opened.size
    empty = Image.new("RGB", size, PAPER)

    def picture(sample: Sample | None) -> Image.Image:
        if sample is None:
            return empty
        with Image.open(sample.path) as image:
            return image.convert("RGB")

    rows = [(row.label, [picture(sample) for _, sample in row.cells]) for row in grid.rows]
    return make_grid(rows, grid.columns, " · ".join(each for each in (title, grid.title) if each), cell)


# ---------------------------------------------------------------- within
def _views(members: Sequence[Member]) -> list[Any]:
    return [member.view for member in members if member.view is not None]


def _samples(member: Member) -> Mapping[int, Sample]:
    return {sample.row: sample for sample in newest_of_each(member.view)} if member.view is not None else {}
