"""The state of a generation, from its record and its job: waiting, in progress, or ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.errors import as_sentence
from app.jobs.job import Job
from app.jobs.states import ENDED, State
from app.jobs.store import TRAIN, YIELD
from app.jobs.view import View
from app.studio.generation.record import MARKED, Record, picture_names
from app.studio.generation.request import GenerateRequest
from trainers.errors import OUT_OF_MEMORY, VelaturaError
from trainers.messages import Message as _
from trainers.messages import recorded
from trainers.runs.event_lines import SAID
from trainers.runs.events import read_events

INTERRUPTED = _("Generation was interrupted: the computer or the program stopped.")
NO_MEMORY = _("There is not enough memory for this picture. A smaller size needs less.")


class Stage(StrEnum):
    """The state of a generation."""

    WAITING = "waiting"
    YIELDING = "yielding"
    """The training that it waits for is about to pause."""
    UNKNOWN = "unknown"
    """The queue cannot be read."""
    READING = "reading"
    DRAWING = "drawing"
    WRITING = "writing"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True)
class GenerationProgress:
    """The progress of a generation."""

    stage: Stage
    done: int = 0
    """Steps done in all its pictures, out of `of`."""
    of: int = 0
    behind: Job | None = None
    """The job that has the device."""
    place: int = 0
    """Position in the queue, from 1."""
    seconds_left: float | None = None
    """Seconds until the device is free, if known."""


@dataclass(frozen=True)
class Generation:
    """A generation's current state."""

    id: str
    folder: Path
    record: Record
    state: State
    progress: GenerationProgress
    pictures: Mapping[int, Path]
    """Existing pictures by index: with styles row by row, then without."""
    could_yield: Job | None = None
    """The training that could be paused for it."""

    @property
    def request(self) -> GenerateRequest:
        """The request."""
        return self.record.request

    @property
    def error(self) -> str:
        """Error, if it ended without a picture."""
        return self.record.reason

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of its picture files, in order."""
        return picture_names(self.request)

    @property
    def is_series(self) -> bool:
        """Whether its pictures differ in seed, style or strength."""
        return len(self.file_names) - self.request.compared > 1

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.state in ENDED

    @property
    def share(self) -> float:
        """Progress, 0 to 1."""
        return self.progress.done / self.progress.of if self.progress.of else float(self.ended)


def find_progress(view: View, views: Mapping[Path, View]) -> GenerationProgress:
    """A generation's waiting reason or progress."""
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
    """The training that could be paused for a generation, if no other run would start instead."""
    running = _running(views)
    if view.state != State.QUEUED or not running or "pause" not in running[0].actions:
        return None
    run_before = any(each.job.kind == TRAIN and 0 < each.place < view.place for each in views.values())
    return running[0].job if running[0].job.phase == "running" and not run_before else None


def reason_of_failure(view: View) -> str:
    """The error as a sentence."""
    if view.state == State.INTERRUPTED:
        return INTERRUPTED
    if view.summary.code == OUT_OF_MEMORY or "not enough memory" in view.line:  # of older versions
        return NO_MEMORY
    return as_sentence(VelaturaError(view.line))


def read_notes(folder: Path) -> tuple[list[str], float | None]:
    """Notes of a generation's jobs, such as layers that the base lacks, and the strength to keep, if one is marked."""
    notes = [event for event in read_events(folder) if event.get("type") == "note"]
    marked = [float(note[MARKED]) for note in notes if MARKED in note]
    return [recorded(note.get(SAID), str(note.get("message", ""))) for note in notes], marked[-1] if marked else None


def _running(views: Mapping[Path, View]) -> list[View]:
    return [each for each in views.values() if each.state not in (*ENDED, State.QUEUED)]
