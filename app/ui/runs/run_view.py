"""A run as data, for the list and for its own page."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from app.jobs.permissions import Actor
from app.jobs.states import ENDED, State
from app.jobs.views import View
from app.studio.runs.chosen import chosen_style
from app.ui.runs import text as words
from app.units import counted, readable_size, readable_speed, readable_time
from trainers.config.techniques import techniques_in
from trainers.messages import joined
from trainers.models.files.source import base_name
from trainers.runs.run import Run

MOVING = (State.TRAINING, State.SAMPLING, State.SAVING, State.STOPPING)
"""States in which a run has a speed."""
COUNTING = (*MOVING, State.PAUSED, State.STOPPED, State.CANCELLED)
"""States whose sentence does not say how far a run is, or is not shown beside its facts."""


def kind(view: View, actor: Actor) -> str:
    """Method, base, number of pictures and owner in one line; of a run that has not begun, what its config says."""
    facts = dict(view.summary.facts)
    if "base" in facts:
        method, base, images = str(facts.get("method", "")), str(facts["base"]), facts.get("images")
    else:
        method, base = _planned(view.job.folder)
        images = None
    parts = [words.method(method), words.ON_BASE.format(base=base) if base else ""]
    parts.append(counted(images, "picture") if images else "")
    parts.append(words.by(view.job.owner, actor))
    return joined(" · ", parts)


def facts(view: View) -> tuple[str, ...]:
    """The numbers of a run that are known, each with what it counts; none is in the run's sentence as well."""
    summary, found = view.summary, list(progress_facts(view))
    if view.state in MOVING and summary.speed:
        found.append(readable_speed(summary.speed))
    if summary.memory and view.state != State.QUEUED:
        found.append(words.MEMORY_OF.format(size=readable_size(summary.memory)))
    said = dict(summary.facts)
    devices, before = said.get("devices", 1), said.get("devices_before", 0)
    if before:
        found.append(words.ON_OTHER_DEVICES.format(now=devices, before=before))
    elif devices > 1:
        found.append(words.ON_DEVICES.format(now=devices))
    style = style_file(view)
    if style is not None:
        found.append(words.FILE_OF.format(size=readable_size(style.stat().st_size)))
    return tuple(found)


def progress_facts(view: View) -> tuple[str, ...]:
    """How far a run is and how long it takes."""
    summary, found = view.summary, list[str]()
    if view.state in COUNTING and summary.steps:
        found.append(words.OF_STEPS.format(step=summary.step, steps=summary.steps))
    if view.state == State.FINISHED:
        taken, steps = readable_time(summary.seconds), counted(summary.step, "step")
        found.append(words.TOOK.format(steps=steps, time=taken) if summary.seconds >= 1 else steps)
    if view.state in MOVING and summary.seconds_left:
        found.append(words.TIME_LEFT.format(time=readable_time(summary.seconds_left)))
    return tuple(found)


def style_file(view: View) -> Path | None:
    """The style file that a run at rest gives."""
    return chosen_style(view.job.folder) if view.state in ENDED else None


def _planned(run: Path) -> tuple[str, str]:
    """Method and base of a run that has said nothing yet; empty where its config cannot be read."""
    try:
        found = (run / "config.toml").stat()
    except OSError:
        return "", ""
    return _method_and_base(run, (found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(1000)
def _method_and_base(run: Path, stamp: tuple[int, ...]) -> tuple[str, str]:
    """What `_planned` says, read once for each `stamp` of a config: a list asks for all that wait every 2 s."""
    table = Run(run).table()
    try:
        method, base = techniques_in(table), str(table["base"]["model"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""
    return method, base_name(base)
