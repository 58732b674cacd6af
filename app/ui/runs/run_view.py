"""A run as data, for the list and for its own page."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from app.jobs.permissions import Actor
from app.jobs.states import ENDED, State
from app.jobs.views import View
from app.studio.base_models import base_name
from app.ui.runs import text as words
from app.units import counted, readable_size, readable_speed, readable_time
from trainers.config.techniques import techniques_in
from trainers.runs.run import Run

MOVING = (State.TRAINING, State.SAMPLING, State.SAVING, State.STOPPING)
"""States in which a run has a speed."""


def kind(view: View, actor: Actor) -> str:
    """Method, base, number of pictures and owner in one line; of a run that has not begun, what its config says."""
    facts = dict(view.summary.facts)
    if "base" in facts:
        method, base, images = str(facts.get("method", "")), str(facts["base"]), facts.get("images")
    else:
        method, base = _planned(view.job.folder)
        images = None
    parts = [words.method(method), f"on {base}" if base else ""]
    parts.append(counted(images, "picture") if images else "")
    parts.append(words.by(view.job.owner, actor))
    return " · ".join(filter(None, parts))


def facts(view: View) -> tuple[tuple[str, str], ...]:
    """The numbers of a run that are known, each with its name."""
    summary = view.summary
    rows = [(words.STEP, f"{summary.step} of {summary.steps}" if summary.steps else "")]
    if view.state in ENDED:
        rows.append((words.TOOK, readable_time(summary.seconds) if summary.seconds >= 1 else ""))
    elif summary.seconds_left is not None and view.state in MOVING:
        rows.append((words.LEFT, readable_time(summary.seconds_left)))
    if summary.speed and view.state in MOVING:
        rows.append((words.SPEED, readable_speed(summary.speed)))
    if summary.memory:
        rows.append((words.MEMORY, readable_size(summary.memory)))
    style = style_file(view)
    if style is not None:
        rows.append((words.SIZE, readable_size(style.stat().st_size)))
    return tuple((name, value) for name, value in rows if value)


def style_file(view: View) -> Path | None:
    """The file that a run at rest has written last, once it has."""
    if view.state not in ENDED:
        return None
    file = view.job.folder / "style" / f"{view.job.name}.safetensors"
    return file if file.is_file() else None


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
