"""One generation: what its folder says of it, and how it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.errors import as_sentence
from app.jobs.job import Job
from app.jobs.small_jobs import EACH, PICTURE, PLAIN
from app.jobs.states import ENDED, State
from app.jobs.store import TRAIN, YIELD
from app.jobs.views import View
from app.studio.generation.request import GenerateRequest, read_request
from trainers.errors import OUT_OF_MEMORY, VelaturaError

INTERRUPTED = "The drawing was cut off: the computer or the program stopped."
NO_MEMORY = "There is not enough memory for this picture. A smaller size needs less."


class Stage(StrEnum):
    """What a generation is doing."""

    WAITING = "waiting"
    YIELDING = "yielding"
    """The training that it waits for is about to pause for it."""
    UNKNOWN = "unknown"
    """The queue cannot be read."""
    READING = "reading"
    DRAWING = "drawing"
    WRITING = "writing"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True)
class GenerationProgress:
    """How far a generation is."""

    stage: Stage
    done: int = 0
    """Steps of all its pictures, of which there are `of`."""
    of: int = 0
    behind: Job | None = None
    """What has the device that it waits for."""
    place: int = 0
    """In line, the first being 1."""
    seconds_left: float | None = None
    """Until the device is free, where that is known."""


class Record(BaseModel):
    """What a generation's folder says of it."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    request: GenerateRequest
    """As it was asked for; what the job was given is in its own file, with files, base and size filled in."""
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
    error: str = ""
    """Why it has no picture, where it ended without one."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Generation:
    """A generation as it is now."""

    id: str
    folder: Path
    record: Record
    state: State
    progress: GenerationProgress
    pictures: tuple[Path, ...]
    """With the styles, or with each of them, then without them, as far as they are there."""
    could_yield: Job | None = None
    """The training that has the device it waits for, where a pause of that lets it begin."""

    @property
    def request(self) -> GenerateRequest:
        """What was asked for."""
        return self.record.request

    @property
    def error(self) -> str:
        """Why it has no picture, where it ended without one."""
        return self.record.error

    @property
    def file_names(self) -> tuple[str, ...]:
        """What its pictures are called in its folder, in this order."""
        return picture_names(self.request)

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in ENDED

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return self.progress.done / self.progress.of if self.progress.of else float(self.ended)


def read_older_record(content: bytes) -> Record:
    """The record in an older version's file; ValueError where it is damaged."""
    table = json.loads(content)
    if not (isinstance(table, dict) and isinstance(wish := table.get("wish"), dict)):
        raise ValueError("nothing says what was to be drawn")
    try:
        styles = [{"style": style, "strength": strength} for style, strength in wish.get("styles", ())]
    except TypeError as error:
        raise ValueError("its styles cannot be read") from error
    values: dict[str, Any] = {name: value for name, value in wish.items() if name != "prompt"}
    request, _ = read_request(values | {"prompts": (wish.get("prompt", ""),), "styles": styles})
    return Record.model_validate(table | {"request": request, "error": table.get("line", "")})


def picture_names(request: GenerateRequest) -> tuple[str, ...]:
    """What the files of a generation's pictures are called: those with styles, then the one without."""
    styled = tuple(EACH.format(number) for number in range(1, len(request.styles) + 1)) if request.each else (PICTURE,)
    return (*styled, *((PLAIN,) if request.compared else ()))


def find_progress(view: View, views: Mapping[Path, View]) -> GenerationProgress:
    """What a generation waits for, or how far it is."""
    done, of = view.summary.share
    match view.state:
        case State.QUEUED:
            running = _running(views)
            behind = running[0].job if running else None
            if behind is not None and behind.requested == YIELD:
                return GenerationProgress(Stage.YIELDING, behind=behind, place=view.place)
            left = [each.summary.seconds_left for each in running]
            seconds = min((each for each in left if each is not None), default=None) if None not in left else None
            return GenerationProgress(Stage.WAITING, behind=behind, place=view.place, seconds_left=seconds)
        case State.WORKING if of:
            return GenerationProgress(Stage.DRAWING, done, of)
        case State.SAVING:
            return GenerationProgress(Stage.WRITING, done, of)
        case State.STOPPING:
            return GenerationProgress(Stage.STOPPING, done, of)
    return GenerationProgress(Stage.READING)


def find_could_yield(view: View, views: Mapping[Path, View]) -> Job | None:
    """The training that a generation waits for, where a pause of it lets the generation begin and no other run."""
    running = _running(views)
    if view.state != State.QUEUED or not running or "pause" not in running[0].actions:
        return None
    run_before = any(each.job.kind == TRAIN and 0 < each.place < view.place for each in views.values())
    return running[0].job if running[0].job.phase == "running" and not run_before else None


def reason_of_failure(view: View) -> str:
    """Why there is no picture, in a sentence."""
    if view.state == State.INTERRUPTED:
        return INTERRUPTED
    if view.summary.code == OUT_OF_MEMORY or "not enough memory" in view.line:  # as older versions said it
        return NO_MEMORY
    return as_sentence(VelaturaError(view.line))


def _running(views: Mapping[Path, View]) -> list[View]:
    return [each for each in views.values() if each.state not in (*ENDED, State.QUEUED)]
