"""Runs side by side as data: their heads, their last samples, the settings in which they differ, and their losses."""

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
from app.ui.components.download_menu import Offer, find_offers
from app.ui.runs import compare_text as words
from app.ui.runs import run_view
from app.ui.runs import text as run_words
from app.ui.runs.curve import Together, draw_together
from app.ui.runs.samples_view import Row, read_sample
from trainers.messages import joined
from trainers.models.files.source import base_name

FEWEST, MOST = 2, 4
"""How many runs stand side by side."""


@dataclass(frozen=True)
class Side:
    """One of the runs that stand side by side."""

    view: View
    public: Path
    curve: Curve
    settings: Mapping[str, Any]
    samples: list[Sample]
    """Its newest one of each prompt."""
    item: StyleEntry | None
    """Its style in the library, once it has ended and there is one."""

    @property
    def name(self) -> str:
        return self.view.job.name

    def rows(self) -> dict[tuple[str, int], Sample]:
        """Its newest samples by their words."""
        return by_words(self.view, self.samples)


@dataclass(frozen=True)
class Heading:
    """One of the runs as the page shows it."""

    place: int
    """From the left, the first being 1."""
    name: str
    state: State
    kind: str
    facts: tuple[str, ...]
    offers: tuple[Offer, ...]
    drawn_at: str
    """When its newest samples were drawn."""
    has_settings: bool


@dataclass(frozen=True)
class Setting:
    """A setting in which the runs differ."""

    title: str
    key: str
    values: tuple[str, ...]
    """As each run has it."""


@dataclass(frozen=True)
class Comparison:
    """The whole page."""

    notes: tuple[str, ...]
    heads: tuple[Heading, ...]
    rows: tuple[Row, ...]
    """The newest samples of prompts that several runs have drawn."""
    alone: tuple[Row, ...]
    """The newest samples of prompts that one run alone has drawn."""
    differences: tuple[Setting, ...]
    losses: Together | None


def read_comparison(sides: Sequence[Side], library: StyleLibrary, said: Sequence[str]) -> Comparison:
    """The whole page; `said` is what there is to say about the runs that were asked for."""
    read = [side.settings for side in sides if side.settings]
    rows = list(_rows(sides))
    shared = [row for row in rows if sum(map(bool, row.samples)) > 1]
    return Comparison(
        tuple(joined(" ", each) for each in (said, _cautions(sides)) if each),
        tuple(_heading(place, side, library) for place, side in enumerate(sides, 1)),
        tuple(shared),
        tuple(row for row in rows if row not in shared),
        tuple(map(_setting, find_differences(read))) if read else (),
        draw_together([(side.name, side.curve) for side in sides]),
    )


def _cautions(sides: Sequence[Side]) -> list[str]:
    """Why these runs can be compared only in part."""
    found: list[str] = []
    if len({setting(side.settings, "base", "model") for side in sides}) > 1:
        found.append(words.OTHER_BASES)
    drawn = [side for side in sides if side.samples]
    if len({str(setting(side.settings, "sample", "seeds")) for side in drawn}) > 1:
        found.append(words.OTHER_SEEDS)
    return found


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


def _rows(sides: Sequence[Side]) -> Iterator[Row]:
    drawn = [side.rows() for side in sides]
    for words_of in dict.fromkeys(row for each in drawn for row in each):
        found = zip(sides, (each.get(words_of) for each in drawn), strict=True)
        buttons = (read_sample(it, side.name, side.public) if it is not None else None for side, it in found)
        yield Row(words_of[0], tuple(buttons))


def _setting(one: Difference) -> Setting:
    return Setting(one.field.title, one.field.key, tuple(_value(one.field, value) for value in one.values))


def _value(field: Field, value: Any) -> str:
    """A setting of a run as *All settings* shows it."""
    if value is ABSENT:
        return words.NOT_OF_IT
    if field.key == "base.model":
        return base_name(str(value))
    return run_words.method(str(value)) if field.key == "method.name" else field.show(value) or words.NOTHING


def _when(side: Side) -> str:
    """At which step its newest samples were drawn."""
    if not side.samples:
        return words.NOTHING_DRAWN
    steps = {side.view.summary.final or sample.step if sample.file else sample.step for sample in side.samples}
    if steps == {0}:
        return words.BEFORE_TRAINING
    return (words.AT_STEP if len(steps) == 1 else words.UP_TO_STEP).format(max(steps))
