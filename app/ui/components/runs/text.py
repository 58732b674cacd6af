"""Texts about runs on several pages."""

from __future__ import annotations

from app.errors import as_sentence
from app.jobs.permissions import Actor
from app.jobs.states import IN_LINE, State
from app.jobs.store import TRAIN
from app.jobs.view import View
from app.studio.runs.failures import LOW, failure_of, lower_by, offer
from app.studio.settings.fields import title_of
from app.studio.studio_queue import Activity, share
from app.studio.sweeps.axes import METHOD, SEED, Axis
from app.ui.components import text as shared
from app.units import percent, readable_time
from trainers.errors import VelaturaError
from trainers.messages import Message, joined, plural
from trainers.messages import Message as _

SOON = 5
"""Remaining seconds from which a waiting run is said to start soon."""
SMALL = {
    "estimate": _("Measuring the time"),
    "trial": _("First try"),
    "caption": _("Writing captions"),
    "generate": _("Drawing a picture"),
}
DONE_OF = _("{name}: {percent}")
SWEEP_KIND = _("Sweep · {axes}")
METHOD_AXIS, SEED_AXIS = _("Method"), _("Seed")
STATES = {
    State.QUEUED: _("Waiting"),
    State.PREPARING: _("Preparing"),
    State.TRAINING: _("Training"),
    State.SAMPLING: _("Drawing samples"),
    State.WORKING: _("Working"),
    State.SAVING: _("Saving"),
    State.HANGING: _("Hanging"),
    State.STOPPING: _("Stopping"),
    State.PAUSED: _("Paused"),
    State.STOPPED: _("Stopped"),
    State.FINISHED: _("Finished"),
    State.FAILED: _("Failed"),
    State.INTERRUPTED: _("Interrupted"),
    State.CANCELLED: _("Cancelled"),
}
CHANGED_BY_HAND = _("{settings} changed")
RAN_AWAY, RAN_AWAY_AT = _("The loss diverged; {kept}."), _("The loss diverged at step {step}; {kept}.")
KEPT, NOTHING_KEPT = _("what it had learned up to step {step} is kept"), _("nothing had been saved yet")
HALF_HELPS = _("Halving the learning rate usually helps.")
QUARTER_HELPS = _("It diverged with half the learning rate, too; a quarter usually helps.")
NO_MEMORY, NO_MEMORY_AT = _("There was not enough memory."), _("There was not enough memory at step {step}.")
LOW_NEEDS_LESS = _("Low memory needs less; it is slower, with the same result.")
SMALLER_NEEDS_LESS = _("Its settings already need little memory; a lower resolution needs less.")
NO_ROOM, NO_ROOM_AT = _("The disk was full."), _("The disk was full at step {step}.")
MAKE_ROOM = _("Free some space, for example by deleting old runs, and try again.")
GOES_ON_FROM = _("It can continue from step {step}.")
UNFORESEEN, UNFORESEEN_AT = _("Something unexpected went wrong."), _("Something unexpected went wrong at step {step}.")
DETAILS_SHOW = _("Details shows what.")
OF_STEPS = _("Step {step} of {steps}")
TIME_LEFT = _("{time} left")
TOOK, MEMORY_OF, FILE_OF = _("{steps} in {time}"), _("{size} of memory"), _("{size} file")
ON_DEVICES, ON_OTHER_DEVICES = _("Devices: {now}"), _("Devices: {now}, earlier {before}")
LOSSES = _("Loss, smoothed: {losses}")
ON_BASE = _("on {base}")
BY, BY_STUDIO_OWNER = _("by {owner}"), _("by the owner of this studio")
WORD_ALONE = _("Textual inversion")


def activity(now: Activity) -> str:
    """The activity of the computer in a line; "" if it is idle."""
    if not now.is_known:
        return shared.QUEUE_PROBLEM
    parts: list[str] = []
    if now.view is not None:
        job, done = now.view.job, share(now.view)
        name = job.name if job.kind == TRAIN else SMALL.get(job.kind, job.kind)
        is_known = done or job.kind == TRAIN
        parts.append(DONE_OF.format(name=name, percent=percent(done)) if is_known else name)
    parts += [plural("{count} more", "{count} more", now.more)] if now.more else []
    parts += [plural("{count} waiting", "{count} waiting", now.waiting)] if now.waiting else []
    return joined(", ", parts)


def brief(now: Activity) -> str:
    """Progress and remaining time of the running job for a tab's title; "" if nothing runs."""
    if now.view is None:
        return ""
    left = now.view.summary.seconds_left
    return joined(" · ", (percent(share(now.view)), readable_time(left) if left is not None else ""))


def line(view: View, wait: float | None = None) -> str:
    """A run's sentence; for a failed one the error and its remedy.

    `wait` has the seconds until the start of a waiting run, if known.
    """
    place = _place(view.line)
    if wait is not None and place:
        if wait < SOON:
            return IN_LINE[1].format(place=place)
        return IN_LINE[-1].format(place=place, time=readable_time(wait))
    if view.state != State.FAILED:
        return view.line
    step, saved = view.summary.step, view.summary.saved
    match failure_of(view):
        case "diverged":
            kept = KEPT.format(step=saved) if saved else NOTHING_KEPT
            helps = HALF_HELPS if lower_by(view) == 2 else QUARTER_HELPS
            return joined(" ", ((RAN_AWAY_AT if step else RAN_AWAY).format(step=step, kept=kept), helps))
        case "out_of_memory":
            helps = LOW_NEEDS_LESS if offer(view) == LOW else SMALLER_NEEDS_LESS
            return joined(" ", (_at(step, NO_MEMORY, NO_MEMORY_AT), helps))
        case "disk_full":
            goes_on = GOES_ON_FROM.format(step=saved) if saved else ""
            return joined(" ", (_at(step, NO_ROOM, NO_ROOM_AT), MAKE_ROOM, goes_on))
        case "unexpected":
            return joined(" ", (_at(step, UNFORESEEN, UNFORESEEN_AT), DETAILS_SHOW))
    return as_sentence(VelaturaError(view.line))


def _place(line: str) -> object:
    """The place in line if the sentence says only that, else ""."""
    return line.named["place"] if isinstance(line, Message) and line.template == IN_LINE[0].template else ""


def _at(step: int, before: Message, after: Message) -> Message:
    """The sentence `after` a step, or `before` the first one."""
    return after.format(step=step) if step else before


def by(owner: str, actor: Actor) -> str:
    """The owner of a run or style, unless the viewer knows it anyway."""
    return BY.format(owner=owner) if owner else "" if actor.owns_machine else BY_STUDIO_OWNER


def method_titles() -> dict[str, str]:
    """The names of all methods as their papers write them, by their names in settings."""
    from trainers.adapters.methods import METHODS

    titles = {name: kind.about.title for name, kind in METHODS.items()}
    return titles | {"textual-inversion": WORD_ALONE}


def method(name: str, size: str = "") -> str:
    """A method's name as its paper writes it, followed by `size`; several are joined by +."""
    titles = method_titles()
    first, *others = (titles.get(part, part) for part in name.split("+"))
    return joined(" + ", (joined(" ", (first, size)), *others))


def axis_title(axis: Axis) -> str:
    """The name of a sweep's axis."""
    if axis.keys == (METHOD,):
        return METHOD_AXIS
    return SEED_AXIS if axis.keys == (SEED,) else _(title_of(axis.keys[0]))


def sweep_kind(axes: tuple[Axis, ...]) -> Message:
    """The settings in which the runs of a sweep differ."""
    return SWEEP_KIND.format(axes=joined(" × ", [axis_title(axis) for axis in axes]))
