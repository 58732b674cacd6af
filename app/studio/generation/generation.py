"""One drawing: what its folder says of it, and how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from app.errors import as_sentence
from app.jobs.small_jobs import EACH, PICTURE, PLAIN
from app.jobs.states import ENDED, State
from app.jobs.store import TRAIN, YIELD, Job
from app.jobs.views import View
from app.studio.generation.request import Wish
from app.ui.playground import text as words
from trainers.errors import VelaturaError


class Record(BaseModel):
    """What a drawing's folder says of it."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    wish: Wish
    whose: str
    made: float
    """When it was asked for, in Unix seconds."""
    names: tuple[str, ...] = ()
    """Of the styles, as they were called."""
    base: str = ""
    """Title of the base."""
    size: tuple[int, int] = (1, 1)
    guidance: float = 0.0
    """As it was settled, like the size."""
    number: int = 0
    """Of its job."""
    state: str = ""
    """How it ended; empty until then."""
    line: str = ""
    """Why it has no picture, where it ended without one."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Drawing:
    """A drawing as it is now."""

    id: str
    folder: Path
    record: Record
    state: State
    line: str
    """What it waits for, how far it is, or why it has no picture."""
    share: float
    pictures: tuple[Path, ...]
    """With the styles, or with each of them, then without them, as far as they are there."""
    behind: Job | None = None
    """The training that has the device it waits for, where a pause of that lets it begin."""

    @property
    def wish(self) -> Wish:
        """What was asked for."""
        return self.record.wish

    @property
    def both(self) -> bool:
        """Whether it is drawn with the styles and without."""
        return self.wish.compare and bool(self.wish.styles)

    @property
    def names(self) -> tuple[str, ...]:
        """What the files of its pictures are called in its folder, in this order."""
        return names_of(self.wish)

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in ENDED


def names_of(wish: Wish) -> tuple[str, ...]:
    """What the files of a drawing's pictures are called: those with styles, then the one without."""
    styled = tuple(EACH.format(number) for number in range(1, len(wish.styles) + 1)) if wish.each else (PICTURE,)
    return (*styled, *((PLAIN,) if wish.compare and wish.styles else ()))


def how_far(record: Record, view: View, views: Mapping[Path, View]) -> str:
    """What a drawing waits for, or how far it is."""
    done, of = view.summary.share
    match view.state:
        case State.QUEUED:
            going = _at_work(views)
            if going and going[0].job.requested == YIELD:
                return words.MAKES_WAY.format(going[0].job.name)
            left = [each.summary.seconds_left for each in going]
            seconds = min((each for each in left if each is not None), default=None) if None not in left else None
            return words.waits(_called(going[0]) if going else "", view.place, seconds)
        case State.WORKING if of and record.wish.each:
            return words.DRAWING.format(done, of)
        case State.WORKING if of:
            return words.drawing(done, record.wish.steps, len(record.names), record.wish.compare and bool(record.names))
        case State.SAVING:
            return words.FINISHING
        case State.STOPPING:
            return view.line
    return words.READING


def who_could_make_way(view: View, views: Mapping[Path, View]) -> Job | None:
    """The training that a drawing waits for, where a pause of it lets the drawing begin and no other run."""
    going = _at_work(views)
    if view.state != State.QUEUED or not going or "pause" not in going[0].actions:
        return None
    run_before = any(each.job.kind == TRAIN and 0 < each.place < view.place for each in views.values())
    return going[0].job if going[0].job.phase == "running" and not run_before else None


def _at_work(views: Mapping[Path, View]) -> list[View]:
    return [each for each in views.values() if each.state not in (*ENDED, State.QUEUED)]


def _called(view: View) -> str:
    return view.job.name if view.job.kind == TRAIN else words.OTHERS.get(view.job.kind, view.job.kind)


def why_not(view: View) -> str:
    """Why there is no picture, in a sentence."""
    if view.state == State.INTERRUPTED:
        return words.INTERRUPTED
    return words.NO_MEMORY if "not enough memory" in view.line else as_sentence(VelaturaError(view.line))
