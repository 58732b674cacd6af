"""A run as template data for the list and its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.jobs.permissions import Actor
from app.jobs.states import ENDED, State
from app.jobs.view import View
from app.studio.base_models import shown_title
from app.studio.runs.chosen import choice_of, chosen_style
from app.studio.runs.origin import FILE, read_origin
from app.ui.components.runs import text as words
from app.ui.components.text import PRESET_NAMES
from app.units import counted, readable_size, readable_speed, readable_time
from trainers.config.techniques import TEXTUAL_INVERSION, techniques_in
from trainers.messages import joined
from trainers.models.files.source import base_name
from trainers.runs.run import Run

MOVING = (State.TRAINING, State.SAMPLING, State.SAVING, State.STOPPING)
"""States in which a run has a speed."""
COUNTING = (*MOVING, State.PAUSED, State.STOPPED, State.CANCELLED)
"""States whose sentence lacks the progress, or is not shown beside the facts."""
TOLD_BY_FACTS = (State.TRAINING, State.SAMPLING, State.SAVING, State.PAUSED, State.STOPPED, State.FINISHED)
"""States whose sentence would repeat the line of facts."""


def kind(view: View, actor: Actor | None) -> str:
    """Preset, method with rank and alpha, base, number of pictures and owner in a line; strangers see no owner."""
    reported, planned = dict(view.summary.facts), _planned(view.job.folder)
    if "base" in reported:  # reported by a run that has begun
        method, base, images = str(reported.get("method", "")), str(reported["base"]), reported.get("images")
    else:
        method, base, images = planned.method, planned.base, None
    parts: list[str] = [planned.own_preset or PRESET_NAMES.get(planned.preset, "")]
    if planned.own_preset and planned.changed:
        parts.append(words.CHANGED_BY_HAND.format(settings=counted(planned.changed, "setting")))
    parts.append(words.method(method, planned.size))
    parts.append(words.ON_BASE.format(base=shown_title(base)) if base else "")
    parts.append(counted(images, "picture") if images else "")
    parts.append(words.by(view.job.owner, actor) if actor is not None else "")
    return joined(" · ", parts)


def facts(view: View) -> tuple[str, ...]:
    """The known numbers of a run with their labels, without those in its sentence."""
    summary, lines = view.summary, list(progress_facts(view))
    if view.state in MOVING and summary.speed:
        lines.append(readable_speed(summary.speed))
    if summary.memory and view.state != State.QUEUED:
        lines.append(words.MEMORY_OF.format(size=readable_size(summary.memory)))
    reported = dict(summary.facts)
    devices, before = reported.get("devices", 1), reported.get("devices_before", 0)
    if before:
        lines.append(words.ON_OTHER_DEVICES.format(now=devices, before=before))
    elif devices > 1:
        lines.append(words.ON_DEVICES.format(now=devices))
    style = style_file(view)
    if style is not None:
        lines.append(words.FILE_OF.format(size=readable_size(style.stat().st_size)))
    return tuple(lines)


def progress_facts(view: View) -> tuple[str, ...]:
    """The progress and duration of a run."""
    summary, lines = view.summary, list[str]()
    if view.state in COUNTING and summary.steps:
        lines.append(words.OF_STEPS.format(step=summary.step, steps=summary.steps))
    if view.state == State.FINISHED:
        taken, steps = readable_time(summary.seconds), counted(summary.step, "step")
        lines.append(words.TOOK.format(steps=steps, time=taken) if summary.seconds >= 1 else steps)
    if view.state in MOVING and summary.seconds_left:
        lines.append(words.TIME_LEFT.format(time=readable_time(summary.seconds_left)))
    return tuple(lines)


def axis_end(view: View) -> int:
    """The last step on a run's time axis: the reached one after its end, else the planned one."""
    return (view.summary.step if view.state in ENDED else 0) or view.summary.steps


def style_file(view: View) -> Path | None:
    """The style file of a run that is not active."""
    return chosen_style(view.job.folder, choice_of(view)) if view.state in ENDED else None


@dataclass(frozen=True)
class Planned:
    """The plan of a run by its folder; empty if it cannot be read."""

    preset: str = ""
    """The preset chosen in the studio."""
    own_preset: str = ""
    changed: int = 0
    """Settings changed by hand over a preset of the person's own."""
    method: str = ""
    size: str = ""
    """Rank and alpha of its method, such as `16/8`."""
    base: str = ""


def _planned(run: Path) -> Planned:
    return _read_planned(run, _stamp(run / "config.toml"), _stamp(run / FILE))


def _stamp(file: Path) -> tuple[int, ...]:
    """A value that changes with a file; empty without one."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(1000)
def _read_planned(run: Path, *stamps: tuple[int, ...]) -> Planned:
    """The plan, read once for each stamp of its files, since the list asks for all runs every 3 s."""
    table = Run(run).table() if stamps[0] else {}
    try:
        method, base = techniques_in(table), str(table["base"]["model"])
        size = _size_of(table["method"]) if method != TEXTUAL_INVERSION else ""
    except (ValueError, KeyError, TypeError, AttributeError):
        return Planned()
    origin = read_origin(run)
    return Planned(origin.preset, origin.own_preset, origin.changed, method, size, base_name(base))


def _size_of(method: Mapping[str, Any]) -> str:
    """Rank and alpha of a method's settings; the rank alone or "" for methods without them."""
    return "/".join(f"{method[key]:g}" for key in ("rank", "alpha") if key in method)
