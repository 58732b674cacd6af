"""The head of a run's page as template data: its progress and its controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from app.jobs.permissions import Actor
from app.jobs.states import ENDED, State
from app.jobs.view import View
from app.studio.runs import failures
from app.studio.runs.chosen import snapshots
from app.studio.studio_queue import share
from app.studio.sweeps.sweep_file import reference_of
from app.ui.components import text as shared
from app.ui.components.controls import Control, Fetch, Link
from app.ui.components.runs import text as run_words
from app.ui.components.runs.run_view import TOLD_BY_FACTS, facts, kind
from app.ui.runs import text as words
from app.ui.runs.actions import RESTARTS, make_control
from app.units import percent, readable_time
from trainers.errors import REFUSED
from trainers.messages import Message, joined
from trainers.score.best import ADVICE, ENDS_EARLY

PROBLEMS = (State.FAILED, State.INTERRUPTED, State.HANGING)
MENU = (
    ("put", "download", "put-elsewhere", "try", "steps", "samples", "share", "clone"),
    ("draw", "pause", "resume", "longer"),
    ("stop", "cancel", "retry", "delete"),
)
"""Items of a run's menu, in groups."""
ENDINGS = ("stop", "cancel")
"""Actions whose button is never filled."""


@dataclass(frozen=True)
class Head:
    """The head of a run's page."""

    name: str
    title: str
    """The title of the browser's tab."""
    ended: bool
    kind: str
    state: State
    done: float
    """Progress, 0 to 1."""
    line: str
    """The sentence beyond the facts; "" if there is nothing to add."""
    problem: bool
    doing: str
    """Current activity besides training; "" while it trains."""
    part: float | None
    """Progress of that activity, 0 to 1; None if unknown."""
    facts: tuple[str, ...]
    sweep: str = ""
    """The sweep that the run belongs to."""


@dataclass(frozen=True)
class Acts:
    """The controls of a run."""

    name: str
    first: Control | None
    """The main action; its button is filled unless it ends the run."""
    second: Control | None
    third: Control | None
    """Hidden on a phone."""
    menu: tuple[tuple[tuple[str, Control], ...], ...]
    """The other actions in the menu's groups, by key."""
    rest: str
    """Why no more actions are possible; "" if nothing is missing."""


def read_head(view: View, actor: Actor, wait: float | None = None) -> Head:
    """The head of a run for `actor`; `wait` has the seconds until its start, if known."""
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


def read_acts(view: View, sampled: bool, gains: Mapping[str, Control], style: str, actor: Actor) -> Acts:
    """The controls of a run for `actor`; `gains` has those of its style, whose id in the library is `style`, or ""."""
    owned = actor.may_change(view.job.owner)
    several = bool(style) and len(snapshots(view.job.folder)) > 1
    available = {"try": bool(style), "steps": several, "samples": sampled, "share": owned}
    allowed = {*actor.permitted(view.job.owner, view.actions), *filter(available.get, available), *gains}
    first, second, third = (*_most_wanted(view, allowed), "", "", "")[:3]
    groups = ([key for key in group if key in allowed and key not in (first, second)] for group in MENU)

    def control(key: str, kind: str = "quiet") -> Control:
        return replace(gains[key], kind=kind) if key in gains else _control(view, key, style, kind)

    return Acts(
        view.job.name,
        control(first, "quiet" if first in ENDINGS else "go") if first else None,
        control(second) if second else None,
        control(third) if third else None,
        tuple(tuple((key, control(key)) for key in group) for group in groups if group),
        _rest(view, "download" in gains) if owned else _whose(view.job.owner),
    )


def _most_wanted(view: View, allowed: set[str]) -> list[str]:
    """The buttons beside the menu, the main one first: the way to use the style if there is one, else the way to it."""
    offered = failures.offer(view) if allowed & {"retry", "resume"} else ""
    if offered in (*RESTARTS, failures.ACCEPT):  # permitted as `retry` and `resume`
        allowed = {*allowed, offered}
    is_guess = offered == failures.CHANGE and failures.failure_of(view) != REFUSED
    ways = {
        State.HANGING: ("cancel",),
        State.FINISHED: ("longer",),
        State.FAILED: ("resume", offered, "retry") if is_guess else (offered, "resume", "retry"),
        **dict.fromkeys((State.PAUSED, State.STOPPED, State.INTERRUPTED, State.CANCELLED), ("resume", "retry")),
    }.get(view.state, ("stop",))
    way = [key for key in ways if key in allowed][:1]
    uses = ("put", "download", "try") if view.state in ENDED else ("download", "put", "try")
    gains: list[str] = [key for key in uses if key in allowed]
    if view.state == State.FAILED and way and not gains:
        others = [failures.CHANGE] if way != [failures.CHANGE] else ["retry"] if is_guess and "retry" in allowed else []
        return [*way, *others, "log"]
    if view.state in PROBLEMS:
        return [*way, *gains]
    if view.state == State.FINISHED:
        return gains or way
    return [*gains[:1], *way, *(gains[1:] if view.state in ENDED else ())]


def _control(view: View, key: str, style: str, kind: str) -> Control:
    match key:
        case "samples":
            return Fetch(words.DOWNLOAD_SAMPLES, "samples", kind)
        case "try":
            return Link(words.TRY, f"playground?style={style}", kind)
        case "steps":
            return Link(shared.COMPARE_STEPS, f"steps?{urlencode({'id': view.job.name})}", kind)
        case "log":
            return Link(words.SHOW_LOG, f"run?{urlencode({'id': view.job.name})}#run-log", kind)
    return make_control(view, key, kind)


def _whose(owner: str) -> Message:
    return words.ONLY_OWNER.format(owner=owner) if owner else words.ONLY_STUDIO_OWNER


def _rest(view: View, has_style: bool) -> str:
    """Why no other action is possible in this state."""
    match view.state:
        case State.QUEUED | State.PREPARING:
            return words.STILL_WAITS
        case State.SAVING | State.STOPPING:
            return words.STILL_ENDS
        case State.SAMPLING if view.summary.phase == "after":
            return words.STILL_ENDS
        case State.TRAINING | State.SAMPLING | State.HANGING:
            return joined(" ", ("" if has_style else words.NO_STYLE_YET, words.STILL_AT_WORK))
        case State.FINISHED if not has_style:
            return words.STYLE_DELETED
        case State.FAILED | State.INTERRUPTED | State.CANCELLED if not view.summary.saved:
            return words.NOTHING_SAVED
    return ""


def _line(view: View, wait: float | None) -> str:
    """A run's sentence without its facts."""
    line = run_words.line(view, wait)
    if view.state == State.PREPARING and line == view.summary.message:
        return words.PREPARING_IN.get(view.summary.phase, line)
    return joined(" ", (view.trouble, _early_stop(view))) if view.state in TOLD_BY_FACTS else line


def _early_stop(view: View) -> str:
    """That a run no longer comes nearer to the style."""
    (nearest, further), state = view.summary.early_stop, view.state
    if not nearest or state not in (State.TRAINING, State.SAMPLING, State.SAVING, State.STOPPED):
        return ""
    template = ENDS_EARLY if state == State.STOPPED or view.summary.phase in ("export", "after") else ADVICE
    return template.format(step=nearest, count=further)


def _doing(view: View) -> tuple[str, float | None]:
    """A run's activity besides training, and its progress."""
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
