"""What stands at the top of a run's page, as data: how far it is, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass

from app.jobs.permissions import Actor
from app.jobs.states import ENDED, State
from app.jobs.views import View
from app.studio.runs import failures
from app.studio.runs.chosen import snapshots
from app.studio.studio_queue import share
from app.studio.sweeps.sweep_file import reference_of
from app.ui.components import text as shared
from app.ui.components.controls import Control, Fetch, Link
from app.ui.runs import text as words
from app.ui.runs.actions import LABELS, RESTARTS, make_control
from app.ui.runs.run_view import facts, kind
from app.units import percent, readable_time

PROBLEMS = (State.FAILED, State.INTERRUPTED, State.HANGING)
TOLD_BY_FACTS = (State.TRAINING, State.SAMPLING, State.SAVING, State.PAUSED, State.STOPPED, State.FINISHED)
"""States whose sentence would say the line of facts again."""
MENU = (
    ("download", "try", "steps", "samples", "share", "clone"),
    ("pause", "resume", "longer"),
    ("stop", "cancel", "retry", "delete"),
)
"""The items of a run's menu, in groups: always the same ones at the same places."""
NAMES = {
    **LABELS,
    "download": words.DOWNLOAD,
    "try": words.TRY,
    "steps": shared.COMPARE_STEPS,
    "samples": words.DOWNLOAD_SAMPLES,
    "cancel": words.WITHOUT_SAVING,
}


@dataclass(frozen=True)
class Head:
    """What stands at the top of a run's page."""

    name: str
    title: str
    """What the page is called in the browser."""
    ended: bool
    kind: str
    state: State
    done: float
    """0 to 1."""
    line: str
    """What there is to say about it beyond its facts; empty where there is nothing."""
    problem: bool
    doing: str
    """What it does besides training; empty while it trains."""
    part: float | None
    """How much of that is done, 0 to 1; None where that is not known."""
    facts: tuple[str, ...]
    sweep: str = ""
    """The sweep that it belongs to."""


@dataclass(frozen=True)
class Item:
    """An entry of the menu; without a control it is not to be had, for a reason."""

    key: str
    label: str
    control: Control | None
    reason: str = ""


@dataclass(frozen=True)
class Acts:
    """What can be done with a run."""

    name: str
    first: Control | None
    """What is most wanted now: the one filled button."""
    second: Control | None
    third: Control | None
    """What there is no room for on a phone."""
    menu: tuple[tuple[Item, ...], ...]
    hint: str
    """Whose it is, for whoever may look at it and not change it."""


def read_head(view: View, actor: Actor, wait: float | None = None) -> Head:
    """A run as `actor` sees it; `wait` are seconds until it starts, if that is known."""
    name, line = view.job.name, _line(view, wait)
    doing, part = _doing(view)
    reference = reference_of(view.job.folder)
    return Head(
        name,
        _title(view),
        view.state in ENDED,
        kind(view, actor),
        view.state,
        share(view),
        line,
        view.state in PROBLEMS,
        doing,
        part,
        facts(view),
        reference.sweep if reference is not None else "",
    )


def read_acts(view: View, sampled: bool, has_style: bool, style: str, actor: Actor) -> Acts:
    """What `actor` can do with a run; `style` is the id of its style in the library, once there is one."""
    owned = actor.may_change(view.job.owner)
    owner = view.job.owner
    several = bool(style) and len(snapshots(view.job.folder)) > 1
    there = {"download": has_style, "try": bool(style), "steps": several, "samples": sampled, "share": owned}
    allowed = {*actor.permitted(view.job.owner, view.actions), *(key for key, is_there in there.items() if is_there)}
    first = _first(view, allowed)
    only = words.ONLY_OWNER.format(owner=owner) if owner else words.ONLY_STUDIO_OWNER
    hint = words.NOT_YOURS.format(owner) if owner else words.NOT_YOURS_BUT_STUDIOS
    second = "" if first is None or view.state not in ENDED else "try" if first == "download" else "download"
    third = "try" if second == "download" and view.state == State.STOPPED else ""
    return Acts(
        view.job.name,
        _control(view, first, style, "go") if first is not None else None,
        _control(view, second, style, "quiet") if second in allowed else None,
        _control(view, third, style, "quiet") if third in allowed else None,
        tuple(tuple(_item(view, key, key in allowed, style, "" if owned else only) for key in group) for group in MENU),
        "" if owned else hint,
    )


def _first(view: View, allowed: set[str]) -> str | None:
    """What is most wanted in a state."""
    offered = failures.offer(view) if "retry" in allowed or "resume" in allowed else ""
    wanted = {
        State.HANGING: ("cancel",),
        State.FINISHED: ("download", "longer"),
        State.FAILED: (offered, "resume", "retry"),
        **dict.fromkeys((State.PAUSED, State.STOPPED, State.INTERRUPTED, State.CANCELLED), ("resume", "retry")),
    }.get(view.state, ("stop",))
    if offered in RESTARTS:  # which `retry` permits
        allowed = {*allowed, offered}
    return next(
        (key for key in (*wanted, "download") if key in allowed and (key != "download" or view.state in ENDED)), None
    )


def _item(view: View, key: str, allowed: bool, style: str, only: str) -> Item:
    label = NAMES[key]
    if allowed:
        return Item(key, label, _control(view, key, style, "quiet", label))
    if only and key not in ("download", "try", "steps", "samples", "clone"):
        return Item(key, label, None, only)
    return Item(key, label, None, _reason(view, key))


def _control(view: View, key: str, style: str, kind: str, label: str = "") -> Control:
    match key:
        case "download":
            return Fetch(label or words.DOWNLOAD, "style", kind)
        case "samples":
            return Fetch(label or words.DOWNLOAD_SAMPLES, "samples", kind)
        case "try":
            return Link(label or words.TRY, f"playground?style={style}", kind)
        case "steps":
            return Link(label, f"playground?style={style}&compare=step", kind)
    if not label:
        failed = {"retry": words.AGAIN, failures.CHANGE: words.CHANGE} if view.state == State.FAILED else {}
        label = failed.get(key) or (words.AT_ONCE if key == "cancel" else NAMES[key])
    return make_control(view, key, label, kind)


def _reason(view: View, key: str) -> str:
    """Why something cannot be done with a run as it is."""
    state, ended = view.state, view.state in ENDED
    waits = words.STILL_WAITS if state == State.QUEUED else words.NOT_BEGUN
    match key:
        case "download" | "try":
            return words.STYLE_DELETED if state == State.FINISHED else words.NO_STYLE_YET
        case "steps":
            return words.NO_STEPS_YET
        case "samples":
            return words.NO_SAMPLES_YET
        case "clone":
            return waits
        case "pause" | "stop":
            return words.NOT_TRAINING
        case "resume" if ended:
            return words.HAS_FINISHED if state == State.FINISHED else words.NOT_SAVED
        case "resume" | "longer":
            return words.NOT_FINISHED
        case "cancel":
            return words.HAS_ENDED if ended else words.NOT_TRAINING
        case "retry" if state == State.FINISHED:
            return words.HAS_FINISHED
    return words.STILL_AT_WORK


def _line(view: View, wait: float | None) -> str:
    """The sentence of a run without what its facts say."""
    line = words.line(view, wait)
    if view.state == State.PREPARING and line == view.summary.message:
        return words.PREPARING_IN.get(view.summary.phase, line)
    return view.trouble if view.state in TOLD_BY_FACTS else line


def _doing(view: View) -> tuple[str, float | None]:
    """What a run does besides training, and how much of it is done."""
    if view.state == State.SAMPLING:
        (number, count), (done, steps) = view.summary.pictures, view.summary.denoising
        sentence = words.DRAWING_IN.get(view.summary.phase, words.DRAWING)
        return sentence.format(number=number, count=count), min(1.0, done / steps) if steps else None
    return (words.WRITING, None) if view.state == State.SAVING else ("", None)


def _title(view: View) -> str:
    name, left = view.job.name, view.summary.seconds_left
    if view.state in ENDED:
        return name
    if view.state in (State.TRAINING, State.SAMPLING) and left:
        return words.TIME_LEFT_TITLE.format(time=readable_time(left), name=name)
    return words.PERCENT_TITLE.format(percent=percent(share(view)), name=name)
