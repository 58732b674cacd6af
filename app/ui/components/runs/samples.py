"""A sample as a button that enlarges it, and its address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.studio.runs.samples import Sample, put_sample
from app.ui.gradio_internals import file_address


@dataclass(frozen=True)
class SampleButton:
    """A sample that can be enlarged."""

    title: str
    """Title beside its prompt."""
    whole: Path
    small: Path


@dataclass(frozen=True)
class SampleRow:
    """The samples of a prompt by column; None for a missing one."""

    prompt: str
    samples: tuple[SampleButton | None, ...]


def address(sample: Sample, public: Path, small: bool) -> str:
    """The URL of a sample, which changes with the picture."""
    return file_address(put_sample(sample, public, small))


def read_sample(sample: Sample, title: str, public: Path) -> SampleButton:
    """A sample, copied to the public folder."""
    return SampleButton(title, put_sample(sample, public, False), put_sample(sample, public, True))
