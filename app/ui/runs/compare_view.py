"""Runs side by side as template data: heads, newest samples, differing settings and losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.jobs.events.losses import Curve
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.states import State
from app.jobs.view import View
from app.studio.runs.samples import Sample, by_words
from app.studio.settings.differences import ABSENT, Difference, find_differences, setting
from app.studio.settings.fields import Field
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import StyleLibrary
from app.ui.components.download_menu import DownloadOffer, find_offers
from app.ui.components.runs import run_view
from app.ui.components.runs import text as run_words
from app.ui.components.runs.curve import Together, draw_together
from app.ui.components.runs.samples import SampleRow, read_sample
from app.ui.runs import compare_text as words
from trainers.messages import joined
from trainers.models.files.source import base_name

FEWEST, MOST = 2, 4
"""How many runs the page compares."""


@dataclass(frozen=True)
class Side:
    """A compared run."""

    view: View
    public: Path
    curve: Curve
    settings: Mapping[str, Any]
    samples: list[Sample]
    """The newest sample of each prompt."""
    item: StyleEntry | None
    """Its style in the library, if it has ended and has one."""

    @property
    def name(self) -> str:
        return self.view.job.name

    def rows(self) -> dict[tuple[str, int], Sample]:
        """The newest samples by prompt."""
        return by_words(self.view, self.samples)


@dataclass(frozen=True)
class Heading:
    """The head of a compared run."""

    place: int
    """Position from the left, from 1."""
    name: str
    state: State
    kind: str
    facts: tuple[str, ...]
    offers: tuple[DownloadOffer, ...]
    drawn_at: str
    """The step of its newest samples."""
    has_settings: bool


@dataclass(frozen=True)
class Setting:
    """A setting in which the runs differ."""

    title: str
    key: str
    values: tuple[str, ...]
    """The value of each run."""


@dataclass(frozen=True)
class Comparison:
    """The page."""

    notes: tuple[str, ...]
    heads: tuple[Heading, ...]
    rows: tuple[SampleRow, ...]
    """The newest samples of prompts that several runs share."""
    alone: tuple[SampleRow, ...]
    """The newest samples of prompts that only one run has."""
    differences: tuple[Setting, ...]
    losses: Together | None


def read_comparison(sides: Sequence[Side], library: StyleLibrary, notices: Sequence[str]) -> Comparison:
    """The page as template data; `said` has notices about the requested runs."""
    read = [side.settings for side in sides if side.settings]
    rows = list(_rows(sides))
    shared = [row for row in rows if sum(map(bool, row.samples)) > 1]
    return Comparison(
        tuple(joined(" ", lines) for lines in (notices, _cautions(sides)) if lines),
        tuple(_heading(place, side, library) for place, side in enumerate(sides, 1)),
        tuple(shared),
        tuple(row for row in rows if row not in shared),
        tuple(map(_setting, find_differences(read))) if read else (),
        draw_together([(side.name, side.curve) for side in sides]),
    )


def _cautions(sides: Sequence[Side]) -> list[str]:
    """Reasons why these runs are comparable only in part."""
    cautions: list[str] = []
    if len({setting(side.settings, "base", "model") for side in sides}) > 1:
        cautions.append(words.OTHER_BASES)
    drawn = [side for side in sides if side.samples]
    if len({str(setting(side.settings, "sample", "seeds")) for side in drawn}) > 1:
        cautions.append(words.OTHER_SEEDS)
    return cautions


def _heading(place: int, side: Side, library: StyleLibrary) -> Heading:
    view = side.view
    return Heading(
        place,
        side.name,
        view.state,
        run_view.kind(view, MACHINE_OWNER),
        run_view.facts(view),
        find_offers(library, side.item) if side.item is not None else (),
        _when(side),
        bool(side.settings),
    )


def _rows(sides: Sequence[Side]) -> Iterator[SampleRow]:
    drawn = [side.rows() for side in sides]
    for words_of in dict.fromkeys(row for row_samples in drawn for row in row_samples):
        shown = zip(sides, (row_samples.get(words_of) for row_samples in drawn), strict=True)
        buttons = (
            read_sample(sample, side.name, side.public) if sample is not None else None for side, sample in shown
        )
        yield SampleRow(words_of[0], tuple(buttons))


def _setting(difference: Difference) -> Setting:
    field = difference.field
    return Setting(field.title, field.key, tuple(_value(field, value) for value in difference.values))


def _value(field: Field, value: Any) -> str:
    """A setting's value as *All settings* shows it."""
    if value is ABSENT:
        return words.NOT_OF_IT
    if field.key == "base.model":
        return base_name(str(value))
    return run_words.method(str(value)) if field.key == "method.name" else field.show(value) or words.NOTHING


def _when(side: Side) -> str:
    """The step at which its newest samples were drawn."""
    if not side.samples:
        return words.NOTHING_DRAWN
    steps = {side.view.summary.final or sample.step if sample.file else sample.step for sample in side.samples}
    if steps == {0}:
        return words.BEFORE_TRAINING
    return (words.AT_STEP if len(steps) == 1 else words.UP_TO_STEP).format(max(steps))
