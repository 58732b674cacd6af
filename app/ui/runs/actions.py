"""Actions on runs from the pages about runs: the buttons of a state, and their effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from app.jobs import actions
from app.jobs.accounts.audit import check_owner, note_job
from app.jobs.permissions import Actor, NotOwnerError
from app.jobs.run_trash import has_learned
from app.jobs.states import State
from app.jobs.store import TRAIN
from app.jobs.view import View
from app.studio.programs.find import PROGRAMS
from app.studio.runs import failures
from app.studio.runs.failures import ACCEPT, CHANGE, HALF, LOW, REPAIRED
from app.studio.runs.links import RunLinks
from app.studio.studio_queue import SMALL_JOB, StudioQueue
from app.ui.components import text as shared
from app.ui.components.controls import Button, Control, Link, banner
from app.ui.components.errors import in_a_banner
from app.ui.document.templates import render
from app.ui.runs import text as words
from app.ui.runs.events import RunAction
from trainers.errors import VelaturaError
from trainers.messages import joined
from trainers.runs.run import Run

LOSING = (State.TRAINING, State.SAMPLING, State.STOPPING, State.HANGING)
"""States in which cancelling loses unsaved steps."""
RESTARTS = ("retry", HALF, LOW, REPAIRED)
"""Actions that start a run anew."""
REPAIR = "repair-queue"
ASKED: Mapping[str, Any] = {"restarts": RESTARTS, "most_steps": 1_000_000, "programs": PROGRAMS}
"""Variables of `dialogs.html`; `most_steps` is the maximum of `train.steps`."""
ENDS: dict[str, Any] = {"stop": "save", "pause": "pause", "cancel": "cancel"}
LABELS: Mapping[str, str] = {
    "up": words.UP,
    "down": words.DOWN,
    "stop": words.STOP,
    "draw": words.DRAW_NOW,
    "pause": words.PAUSE,
    "cancel": shared.CANCEL,
    "resume": words.GO_ON,
    "longer": words.LONGER,
    "retry": words.ANEW,
    HALF: words.AGAIN_HALF,
    LOW: words.AGAIN_LOW,
    ACCEPT: words.GO_ON_CHANGED,
    "clone": words.CLONE,
    "share": words.SHARE,
    "delete": shared.DELETE,
}
"""Labels of the actions."""


@dataclass(frozen=True)
class Answer:
    """The result of an action."""

    notice: str
    """HTML; "" if the page shows the effect anyway."""
    gone: bool = False
    """Whether the run was deleted."""


def find_controls(view: View, actor: Actor) -> list[Control]:
    """The controls of a run in its state, for `actor`."""
    return [make_control(view, what) for what in _wanted(view, actor)]


def make_control(view: View, what: str, kind: str = "quiet") -> Control:
    """The control of an action on a run or a small job."""
    label = _label(view, what)
    name = view.job.name if view.job.kind == TRAIN else f"{SMALL_JOB}{view.job.id}"
    if what == "clone":  # a clone begins on the page Train
        return Link(label, f"./?{urlencode({'clone': name})}", kind)
    steps = view.summary.step if what == "longer" else 0
    return Button(label, what, name, kind, note=_note(view, what), steps=steps)


def perform(queue: StudioQueue, event: RunAction, actor: Actor) -> Answer:
    """Perform the action of a button; a refusal is an answer, too."""
    try:
        return _perform(queue, event, actor)
    except (OSError, VelaturaError) as error:
        return Answer(in_a_banner(error))


def _perform(queue: StudioQueue, event: RunAction, actor: Actor) -> Answer:
    what, name = event.what, event.about
    if what == REPAIR:
        return _repair(queue, actor)
    if what in ("share", "unshare"):
        return Answer(_share(queue, name, what == "share", actor))
    store, number = queue.store, queue.number(name, actor=actor)
    if what in ENDS:
        actions.stop(store, number, ENDS[what], actor=actor)
    elif what == "draw":
        actions.draw_now(store, number, actor=actor)
        return Answer(banner(words.DRAWS_NEXT))
    elif what in ("up", "down"):
        actions.move(store, number, what, actor=actor)
    elif what == "place":  # the other run may just have begun
        over = queue.run(event.over)
        actions.move(store, number, max(1, over.place if over is not None else 1), actor=actor)
    elif what in ("resume", ACCEPT):
        actions.resume(store, number, accept=what == ACCEPT, actor=actor)
    elif what == "longer":
        steps, done = _whole(words.STEPS, event.steps), queue.watcher.view(number).summary.step
        if steps <= done:
            raise VelaturaError(words.MORE_STEPS.format(done))
        actions.resume(store, number, steps, actor=actor)
    elif what in RESTARTS:
        view = queue.watcher.view(number)
        actions.retry(store, number, failures.changes(what, view), actor=actor)
    elif what == "delete":
        queue.delete(number, actor=actor)
        return Answer("", gone=True)
    return Answer("")


def _share(queue: StudioQueue, name: str, share: bool, actor: Actor) -> str:
    """Create or delete a run's read-only link; returns the line to show."""
    view, links = queue.find(name), RunLinks(queue)
    what, job = "share" if share else "unshare", view.job
    check_owner(queue.store.runs, what, actor, job.kind, job.name, job.owner)
    if share:
        answer = render("runs/link.html", address=f"shared/{links.make(view)}", about=name)
    else:
        links.end(view)
        answer = banner(words.UNSHARED)
    note_job(queue.store, what, actor, job.kind, job.name, job.owner)
    return answer


def _repair(queue: StudioQueue, actor: Actor) -> Answer:
    if not actor.may_change(""):
        raise NotOwnerError(words.ASK_TO_REPAIR)
    done = queue.repair()
    source = words.BACKUP_AND_RUNS if done.backup else words.RUNS_ALONE
    return Answer(banner(words.REPAIRED.format(source, done.aside.name)))


def _note(view: View, what: str) -> str:
    """The warning that an action loses or restarts something, or ""."""
    summary = view.summary
    if view.job.kind != TRAIN:
        return ""
    if what in RESTARTS:
        return words.RESTART_NOTE if has_learned(Run(view.job.folder)) else ""
    if what != "cancel" or not summary.step or view.state not in LOSING:
        return ""
    if not summary.saved:
        return words.LOSES_ALL.format(summary.step)
    if summary.step == summary.saved:
        return words.LOSES_NOTHING.format(summary.saved)
    return words.LOSES.format(summary.step - summary.saved, summary.step, summary.saved)


def _wanted(view: View, actor: Actor) -> list[str]:
    """Actions with a button, in order of display."""
    wanted: list[str] = []
    for what in actor.permitted(view.job.owner, view.actions):
        if what == "move":
            wanted += ["up", "down"] if view.job.kind == TRAIN else []
        elif what == "retry":
            offered = failures.offer(view)
            refused = failures.failure_of(view) == "refused"
            wanted += [offered] if offered == CHANGE and refused else [action for action in (offered, what) if action]
        elif what != "change":  # settings are changed on the page Train
            wanted.append(what)
    return list(dict.fromkeys(wanted))


def _label(view: View, what: str) -> str:
    match what:
        case "stop" if view.summary.phase == "after":
            return words.SKIP_PICTURES
        case "cancel" if view.state in (State.TRAINING, State.SAMPLING):
            return words.WITHOUT_SAVING
        case "cancel" if view.state in (State.STOPPING, State.HANGING):
            return words.AT_ONCE
        case "retry" if view.state == State.FAILED:
            return words.AGAIN
        case failures.HALF if failures.lower_by(view) == 4:
            return words.AGAIN_QUARTER
        case failures.REPAIRED:
            return again_with(view)
        case "clone" if view.state == State.FAILED:
            return words.CHANGE
        case "resume" if view.state in (State.INTERRUPTED, State.CANCELLED) and view.summary.saved:
            return words.GO_ON_FROM.format(step=view.summary.saved)
    return LABELS[what]


def again_with(view: View) -> str:
    """The label of the button that retries a failed run with repairs."""
    return words.AGAIN_WITH.format(repair=joined(", ", (failure.repair for failure in failures.repairs(view))))


def _whole(field: str, typed: str) -> int:
    number = _number(field, typed)
    if number != int(number):
        raise VelaturaError("{field} is a whole number; you wrote “{typed}”", field=field, typed=typed)
    return int(number)


def _number(field: str, typed: str) -> float:
    try:
        number = float(typed.strip().replace(",", "."))
    except ValueError:
        raise VelaturaError("{field} is a number; you wrote “{typed}”", field=field, typed=typed) from None
    if number != number or abs(number) > 1e15:
        raise VelaturaError("{field} is a number; you wrote “{typed}”", field=field, typed=typed)
    return number
