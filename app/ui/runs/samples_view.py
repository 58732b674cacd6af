"""A sample as a button that shows it large, and where browsers find it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.studio.runs.samples import Sample, put_sample
from app.ui.gradio_internals import file_address


@dataclass(frozen=True)
class SampleButton:
    """A sample that can be looked at closely."""

    title: str
    """What it is called beside its prompt."""
    whole: Path
    small: Path


@dataclass(frozen=True)
class Row:
    """What was drawn of a prompt, column by column; None where nothing was."""

    prompt: str
    samples: tuple[SampleButton | None, ...]


def address(sample: Sample, public: Path, small: bool) -> str:
    """Where a browser finds a sample; another picture has another address."""
    return file_address(put_sample(sample, public, small))


def read_sample(sample: Sample, title: str, public: Path) -> SampleButton:
    """A sample, put where browsers find it."""
    return SampleButton(title, put_sample(sample, public, False), put_sample(sample, public, True))
