"""Generations as data: those that wait or go on, the one that is looked at, and the strip of the last ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.jobs.permissions import Actor
from app.jobs.states import State
from app.studio.base_models import shown_title
from app.studio.generation.generations import Generations
from app.studio.generation.request import pixels_in_words
from app.studio.generation.state import Generation, Stage
from app.ui.playground import text as words
from app.units import readable_time
from trainers.composition.ways import SUM
from trainers.messages import joined, listed

SHOWN = 3
"""Drawings that wait or go on, and failures, that are shown one by one."""


@dataclass(frozen=True)
class Waiting:
    """A generation that waits or goes on."""

    id: str
    name: str
    """Its prompt, where there are several."""
    line: str
    """What it waits for, or how far it is."""
    begun: bool
    done: float
    """0 to 1."""
    may_cancel: bool
    in_the_way: str
    """The training that whoever looks may pause for it; empty where there is none."""


@dataclass(frozen=True)
class Failure:
    """A generation that came to nothing."""

    id: str
    prompt: str
    error: str
    log: str


@dataclass(frozen=True)
class Going:
    """What waits or goes on, the next one first, and what came to nothing."""

    state: str
    """What is read out where it changes: not every step."""
    failures: tuple[Failure, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    more: int = 0
    """How many more wait."""
    several: bool = False
    """Whether all of them together may be cancelled."""


@dataclass(frozen=True)
class Figure:
    """One of the pictures of a generation, or the place where it will be."""

    title: str
    whole: Path | None
    """Its copy for pages, once it is drawn."""
    file: Path | None
    """What is downloaded."""
    comes: str
    """What is said where there is no picture yet."""
    rough: Path | None = None
    """What it will be, as far as it is drawn."""
    keep: str = ""
    """In a ribbon, how its strengths are asked to be kept."""
    kept: bool = False
    """Whether these strengths are those in the fields."""


@dataclass(frozen=True)
class Picture:
    """The generation that is looked at, with its settings."""

    id: str
    size: tuple[int, int]
    figures: tuple[Figure, ...]
    columns: int
    """Of a grid of strengths; 0 for another series."""
    axes: tuple[str, ...]
    """The styles whose strengths change along a row and from row to row."""
    prompt: str
    negative: str
    numbers: str


@dataclass(frozen=True)
class Thumbnail:
    """One of the last generations."""

    id: str
    prompt: str
    seed: int
    picture: Path
    shown: bool
    """Whether it is the one that is looked at."""


def read_going(generations: Sequence[Generation], log: str, owner: str) -> Going:
    """What waits or goes on, and what came to nothing; `log` is what the newest of those said.

    `owner` is whose trainings may be paused.
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
    """The newest generation that came to nothing."""
    return next((generation for generation in generations if generation.ended and generation.error), None)


def chosen_one(generations: Sequence[Generation], chosen: str) -> Generation | None:
    """The generation to look at: the one that was chosen, that is drawn, the newest with a picture, or the next."""
    drawn = [generation for generation in generations if generation.pictures]
    picked = [generation for generation in drawn if generation.id == chosen]
    active = [generation for generation in reversed(generations) if not generation.ended]
    at_work = [generation for generation in active if generation.progress.stage in (Stage.DRAWING, Stage.WRITING)]
    return next(iter((*picked, *at_work, *drawn, *active)), None)


def read_picture(generation: Generation | None, service: Generations, kept: Mapping[str, float]) -> Picture | None:
    """The generation that is looked at, with its settings; None where there is none.

    `kept` are the strengths in the fields, by style.
    """
    if generation is None:
        return None
    request, record = generation.request, generation.record
    sizes = words.settings(request.seed, record.steps, record.guidance, pixels_in_words(record.size), record.sampler)
    way = words.way(request.compose) if request.compose != SUM else ""
    took = readable_time(record.seconds) if record.seconds >= 1 else ""
    return Picture(
        generation.id,
        record.size,
        tuple(_figure(generation, place, service, kept) for place in range(len(generation.file_names))),
        len(request.strengths),
        record.names[: 2 if len(request.styles) > 1 else 1] if request.strengths else (),
        request.prompt,
        request.negative,
        joined(" · ", (*sizes, shown_title(record.base), way, took)),
    )


def read_strip(generations: Sequence[Generation], shown: str, service: Generations) -> tuple[Thumbnail, ...]:
    """The last generations, the newest first; `shown` is the one that is looked at. Empty where it is alone."""
    drawn = [generation for generation in generations if generation.pictures]
    return tuple(_thumbnail(each, each.id == shown, service) for each in drawn) if len(drawn) > 1 else ()


def title(generation: Generation, place: int) -> str:
    """What one of the pictures is."""
    if generation.request.compared and place == len(generation.file_names) - 1:
        return words.PLAIN
    request = generation.request
    if request.strengths:
        return words.strengths(request.sweep[place][:2])
    if request.count > 1:
        return words.SEED_OF.format(request.seeds[place])
    if not generation.record.names:
        return shown_title(generation.record.base)
    strengths = (style.strength for style in generation.request.styles)
    named = list(map(words.at_strength, generation.record.names, strengths))
    return words.WITH.format(named[place] if generation.request.each else listed(named))


def _waiting(generation: Generation, named: bool, owner: str | None) -> Waiting:
    """`owner` is whose training may be paused for it, None where none may."""
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


def _figure(generation: Generation, place: int, service: Generations, kept: Mapping[str, float]) -> Figure:
    name, request = title(generation, place), generation.request
    if place >= len(generation.pictures):
        comes = words.COMES if generation.state == State.WORKING else words.COMES_NEXT
        return Figure(name, None, None, "" if generation.ended else comes, rough=service.rough_copy(generation, place))
    own = (
        dict(zip((style.style for style in request.styles), request.sweep[place], strict=True)) if request.sweep else {}
    )
    return Figure(
        name,
        service.web_copy(generation, place, False),
        service.downloads(generation)[place],
        "",
        keep=f"{generation.id}:{place}" if own else "",
        kept=bool(own) and all(kept.get(style) == strength for style, strength in own.items()),
    )


def _thumbnail(generation: Generation, is_shown: bool, service: Generations) -> Thumbnail:
    request = generation.request
    place = min(len(generation.pictures) - 1, len(request.sweep) // 2)
    return Thumbnail(generation.id, request.prompt, request.seed, service.web_copy(generation, place, True), is_shown)


def _state(generations: Sequence[Generation]) -> str:
    """What is read out where it changes: not every step."""
    active = [generation for generation in reversed(generations) if not generation.ended]
    if not active:
        return words.DONE if generations and generations[0].pictures else ""
    return words.WAITING if active[0].state == State.QUEUED else words.AT_WORK
