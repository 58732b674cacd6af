"""Generations as template data: those in progress, the chosen one, and the strip of recent ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.jobs.permissions import Actor
from app.jobs.states import State
from app.studio.base_models import shown_title
from app.studio.generation.cells import cells_of
from app.studio.generation.generations import Generations
from app.studio.generation.options import parameters_of
from app.studio.generation.state import Generation, Stage
from app.ui.playground import text as words
from app.units import readable_time
from trainers.composition.ways import SUM
from trainers.messages import joined, listed

MANY = 9
"""Number of pictures from which they are shown as small copies."""
SHOWN = 3
"""Maximum number of generations in progress, and of failures, that are shown."""


@dataclass(frozen=True)
class Waiting:
    """A generation that waits or is in progress."""

    id: str
    name: str
    """Its prompt, if several are shown."""
    line: str
    """Its progress in a sentence."""
    begun: bool
    done: float
    """0 to 1."""
    may_cancel: bool
    in_the_way: str
    """The training that the viewer may pause for it, or ""."""


@dataclass(frozen=True)
class Failure:
    """A generation that failed."""

    id: str
    prompt: str
    error: str
    log: str


@dataclass(frozen=True)
class Going:
    """Generations in progress, the next one first, and failures."""

    state: str
    """The state for screen readers, without single steps."""
    failures: tuple[Failure, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    more: int = 0
    """Number of further ones that wait."""
    several: bool = False
    """Whether *Cancel all* is offered."""


@dataclass(frozen=True)
class Figure:
    """A picture of a generation, or its placeholder."""

    title: str
    whole: Path | None
    """Its web copy, once drawn."""
    file: Path | None
    """The file to download."""
    comes: str
    """The placeholder's text."""
    rough: Path | None = None
    """A rough preview while it is drawn."""
    small: Path | None = None
    """A small copy to show instead of the web copy."""
    keep: str = ""
    """The value of *Use this* in a comparison."""
    kept: bool = False
    """Whether the form has its settings."""


@dataclass(frozen=True)
class Grid:
    """A comparison along two axes."""

    label: str
    across: str
    down: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Figure, ...]], ...]
    marked: str = ""
    """The name of the column or row with the strength to keep."""


@dataclass(frozen=True)
class ChosenPicture:
    """The chosen generation with its settings."""

    id: str
    size: tuple[int, int]
    figures: tuple[Figure, ...]
    grid: Grid | None
    """The layout of a comparison along two axes."""
    is_series: bool
    sheet: Path | None
    """The file of the sheet with all pictures."""
    prompt: str
    negative: str
    numbers: str
    remarks: tuple[str, ...]
    """Remarks made during drawing."""


@dataclass(frozen=True)
class Thumbnail:
    """A recent generation in the strip."""

    id: str
    prompt: str
    seed: int
    picture: Path
    shown: bool
    """Whether it is the chosen one."""


def read_going(generations: Sequence[Generation], log: str, owner: str) -> Going:
    """Generations in progress and failures; `log` is the output of the newest failure.

    Trainings of `owner` may be paused.
    """
    active = [generation for generation in reversed(generations) if not generation.ended]
    failed = [generation for generation in generations if generation.ended and generation.error][:SHOWN]
    return Going(
        _state(generations),
        tuple(
            Failure(generation.id, generation.request.prompt, generation.error, log if place == 0 else "")
            for place, generation in enumerate(failed)
        ),
        tuple(
            _waiting(generation, len(active) > 1, owner if place == 0 else None)
            for place, generation in enumerate(active[:SHOWN])
        ),
        max(0, len(active) - SHOWN),
        len(active) > 2,
    )


def newest_failure(generations: Sequence[Generation]) -> Generation | None:
    """The newest failed generation."""
    return next((generation for generation in generations if generation.ended and generation.error), None)


def chosen_one(generations: Sequence[Generation], chosen: str) -> Generation | None:
    """The generation to show: the chosen one, the one being drawn, the newest with a picture, or the next."""
    drawn = [generation for generation in generations if generation.pictures]
    picked = [generation for generation in drawn if generation.id == chosen]
    active = [generation for generation in reversed(generations) if not generation.ended]
    at_work = [generation for generation in active if generation.progress.stage in (Stage.DRAWING, Stage.WRITING)]
    return next(iter((*picked, *at_work, *drawn, *active)), None)


def read_picture(
    generation: Generation | None, service: Generations, kept: Collection[int] = ()
) -> ChosenPicture | None:
    """The chosen generation with its settings, or None.

    `kept` has the indices of pictures whose settings are in the form.
    """
    if generation is None:
        return None
    request, record = generation.request, generation.record
    how = record.resolved
    compared = {axis.kind for axis in request.axes}  # each picture's title has these values
    settings = [setting for name, setting in words.settings(parameters_of(how)).items() if name not in compared]
    way = words.way(request.compose) if request.compose != SUM else ""
    took = readable_time(record.seconds) if record.seconds >= 1 else ""
    files = dict(zip(generation.pictures, service.downloads(generation), strict=True))
    places = range(len(generation.file_names))
    figures = tuple(_figure(generation, place, service, files.get(place), place in kept) for place in places)
    return ChosenPicture(
        generation.id,
        how.size,
        figures,
        _grid(generation, figures),
        generation.is_series,
        service.overview(generation),
        request.prompt,
        request.negative,
        joined(" · ", (*settings, shown_title(record.base), way, took)),
        record.remarks,
    )


def _grid(generation: Generation, figures: tuple[Figure, ...]) -> Grid | None:
    axes, names = generation.request.axes, generation.record.names
    if len(axes) < 2:
        return None
    across, down = axes
    wide = len(across.values)
    rows = tuple(
        (words.axis_value(down.kind, value, names, False), figures[row * wide : (row + 1) * wide])
        for row, value in enumerate(down.values)
    )
    columns = tuple(words.axis_value(across.kind, value, names, False) for value in across.values)
    first, second = words.axis_name(across.kind, names), words.axis_name(down.kind, names)
    marked = generation.record.marked
    mark = words.axis_value("strength", marked, names, False) if marked is not None else ""
    return Grid(words.GRID.format(across=first, down=second), first, second, columns, rows, mark)


def read_strip(generations: Sequence[Generation], shown: str, service: Generations) -> tuple[Thumbnail, ...]:
    """The recent generations, newest first, with `shown` marked; empty if there is only one."""
    drawn = [generation for generation in generations if generation.pictures]
    return tuple(_thumbnail(item, item.id == shown, service) for item in drawn) if len(drawn) > 1 else ()


def title(generation: Generation, place: int) -> str:
    """The title of a picture."""
    if generation.request.compared and place == len(generation.file_names) - 1:
        return words.PLAIN
    request = generation.request
    names = generation.record.names
    if request.axes and not request.each:
        values = cells_of(generation.record.resolved)[place].values
        return joined(", ", [words.axis_value(kind, value, names, len(values) > 1) for kind, value in values])
    if not names:
        return shown_title(generation.record.base)
    strengths = (style.strength for style in request.styles)
    named = list(map(words.at_strength, names, strengths))
    return words.WITH.format(named[place] if request.each else listed(named))


def _waiting(generation: Generation, named: bool, owner: str | None) -> Waiting:
    """`owner` may pause their own training for it; None if pausing is not offered."""
    blocking = generation.could_yield
    may_hurry = blocking is not None and owner is not None and Actor(owner).may_change(blocking.owner)
    return Waiting(
        generation.id,
        generation.request.prompt if named else "",
        words.progress(generation),
        generation.state not in (State.QUEUED, State.PREPARING),
        generation.share,
        generation.state != State.STOPPING,
        blocking.name if blocking is not None and may_hurry else "",
    )


def _figure(generation: Generation, place: int, service: Generations, file: Path | None, kept: bool) -> Figure:
    name, request = title(generation, place), generation.request
    if file is None:
        comes = words.COMES if generation.state == State.WORKING else words.COMES_NEXT
        return Figure(name, None, None, "" if generation.ended else comes, rough=service.rough_copy(generation, place))
    many = len(generation.file_names) > MANY
    return Figure(
        name,
        file if many else service.web_copy(generation, place, False),
        file,
        "",
        small=service.web_copy(generation, place, True) if many else None,
        keep=f"{generation.id}:{place}" if request.axes else "",
        kept=kept,
    )


def _thumbnail(generation: Generation, is_shown: bool, service: Generations) -> Thumbnail:
    request, places = generation.request, list(generation.pictures)
    place = places[len(places) // 2] if request.axes else places[0]
    return Thumbnail(generation.id, request.prompt, request.seed, service.web_copy(generation, place, True), is_shown)


def _state(generations: Sequence[Generation]) -> str:
    """The state for screen readers, without single steps."""
    active = [generation for generation in reversed(generations) if not generation.ended]
    if not active:
        return words.DONE if generations and generations[0].pictures else ""
    return words.WAITING if active[0].state == State.QUEUED else words.AT_WORK
