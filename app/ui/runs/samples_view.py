"""The samples of a run as data: the grid of prompts and steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.jobs.views import View
from app.studio.runs.samples import Sample, find_samples, prompts_of, put_sample
from app.ui.gradio_internals import file_address


@dataclass(frozen=True)
class SampleButton:
    """A sample that can be looked at closely."""

    title: str
    """The head of its column."""
    whole: Path
    small: Path


@dataclass(frozen=True)
class Row:
    """What was drawn of a prompt, column by column; None where nothing was."""

    prompt: str
    samples: tuple[SampleButton | None, ...]


@dataclass(frozen=True)
class Grid:
    """All samples of a run. It grows only to the right."""

    heads: tuple[str, ...]
    rows: tuple[Row, ...]


def address(sample: Sample, public: Path, small: bool) -> str:
    """Where a browser finds a sample; another picture has another address."""
    return file_address(put_sample(sample, public, small))


def read_grid(view: View, public: Path) -> Grid | None:
    """The samples of a run, put where browsers find them; None where nothing is drawn yet."""
    columns = find_samples(view.job.folder)
    if not columns:
        return None
    heads = tuple(column[0].title for column in columns)
    prompts = prompts_of(view, max(len(column) for column in columns))
    rows = (
        Row(prompt, tuple(_in_column(column, place, public) for column in columns))
        for place, prompt in enumerate(prompts)
    )
    return Grid(heads, tuple(rows))


def read_sample(sample: Sample, title: str, public: Path) -> SampleButton:
    """A sample, put where browsers find it."""
    return SampleButton(title, put_sample(sample, public, False), put_sample(sample, public, True))


def _in_column(column: list[Sample], row: int, public: Path) -> SampleButton | None:
    sample = next((each for each in column if each.row == row), None)
    return read_sample(sample, sample.title, public) if sample is not None else None
