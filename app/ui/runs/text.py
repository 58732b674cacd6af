"""Texts of the pages about runs."""

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

TITLE = _("Runs")
NO_RUNS = (_("No runs yet"), _("A run is one training, from your pictures to a style file."))
NOTHING_YET, NOTHING_PRINTED = _("Nothing yet."), _("Nothing was printed.")
NO_STYLE = _("there is no style file yet")
NO_SUCH_RUN = (_("There is no such run"), _("It was deleted, or the address is incomplete."))
TO_THE_RUNS = _("Go to Runs")
SOON = 5
"""Remaining seconds from which a waiting run is said to start soon."""
QUEUE_DAMAGED = _(
    "The queue is damaged, so no run can start. Your runs and styles are safe, and runs that are training go on. "
    "Repairing rebuilds the queue from its backup and the run folders, and keeps the damaged file."
)
ASK_TO_REPAIR = _(
    "The queue is damaged, so no run can start. Runs and styles are safe. "
    "Whoever runs this studio can repair it with: velatura queue repair"
)
REPAIR = _("Repair the queue")
REPAIRED = _("The queue was rebuilt from {}. The damaged file is kept as {}.")
BACKUP_AND_RUNS, RUNS_ALONE = _("its backup and the run folders"), _("the run folders")
ALSO = _("Other tasks")
SMALL = {"estimate": _("Measuring the time"), "caption": _("Writing captions"), "generate": _("Drawing a picture")}
MEASURING, WAITS_TO_MEASURE = _("Measuring “{}”"), _("Waiting to measure “{}”")
MACHINES, NO_DEVICE = _("Machines"), _("It offers no device.")
BUSY, FREE = _("{device}: {job}"), _("{device}: free")
DONE_OF = _("{name}: {percent}")
SHOW = _("Show")
SHOWN = {"all": _("All"), "running": _("Running"), "waiting": _("Waiting"), "ended": _("Ended"), "mine": _("Mine")}
NONE_SHOWN = _("No run matches. Shorten the search, or show all.")

# Sweeps
SWEEP_KIND = _("Sweep · {axes}")
METHOD_AXIS, SEED_AXIS = _("Method"), _("Seed")
PART_OF = _("Part of the sweep {name}")

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
UP, DOWN = _("Move up"), _("Move down")
HANDLE = _("Move {}: drag, or press the up and down arrows")
STOP, PAUSE, WITHOUT_SAVING = _("Stop here and keep this"), _("Pause"), _("Stop without saving")
SKIP_PICTURES = _("Skip the last pictures")
GO_ON, GO_ON_FROM = _("Continue"), _("Continue from {step}")
LONGER, AGAIN, ANEW = _("Train longer"), _("Try again"), _("Restart from zero")
CLONE = _("Train again with changes")
CHANGE = _("Change the settings")
CHANGED_BY_HAND = _("{settings} changed")
AGAIN_WITH, SHOW_LOG = _("Try again: {repair}"), _("Show the log")
AGAIN_LOW = _("Try again with low memory")
AGAIN_HALF, AGAIN_QUARTER = (
    _("Try again with half the learning rate"),
    _("Try again with a quarter of the learning rate"),
)
GO_ON_CHANGED = _("Continue with these images")
AT_ONCE = _("Stop now")

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

DOWNLOAD_SAMPLES, DOWNLOAD_NUMBERS = _("Download samples"), _("Numbers as CSV")
PROGRESS = _("Training progress")

# The menu of a run
TRY, DOWNLOAD = _("Try it"), _("Download")
MENU = _("More actions for {name}")
SHARE, SHARED = _("Share a read-only link"), _("Whoever has this link can watch this run without a login.")
SHARED_HERE = _(
    "This link opens on this computer only, because the studio is not open to your network. docs/people.md says how "
    "to open it."
)
LINK, COPY, COPIED, UNSHARE = _("Read-only link"), _("Copy"), _("Copied"), _("Stop sharing")
UNSHARED = _("The link no longer shows this run.")
ONLY_OWNER = _("Only {owner} can change this run.")
ONLY_STUDIO_OWNER = _("Only the owner of this studio can change this run.")
STYLE_DELETED = _("Its style was deleted. It can be restored from the trash for 30 days.")
STILL_WAITS = _("More can be done once it has begun.")
NO_STYLE_YET = _("There is no style to download yet.")
STILL_AT_WORK = _("Stop it first to delete it, start it over or train it longer.")
STILL_ENDS = _("More can be done once it has ended.")
NOTHING_SAVED = _("Nothing was saved to continue from.")

# The line of facts
OF_STEPS = _("Step {step} of {steps}")
DRAWING, WRITING = _("Drawing picture {number} of {count}"), _("Writing the file")
DRAWING_IN = {
    "before": _("Before training: drawing picture {number} of {count}"),
    "after": _("From the finished style: drawing picture {number} of {count}"),
}
"""Phases in which a run draws no samples between two steps."""
PREPARING_IN = {"encode": _("Preparing the pictures …"), "class-images": _("Drawing pictures of the class …")}
TIME_LEFT, TIME_LEFT_TITLE = _("{time} left"), _("{time} left · {name}")
PERCENT_TITLE = _("{percent} · {name}")
TOOK, MEMORY_OF, FILE_OF = _("{steps} in {time}"), _("{size} of memory"), _("{size} file")
ON_DEVICES, ON_OTHER_DEVICES = _("Devices: {now}"), _("Devices: {now}, earlier {before}")
FACTS, PICTURE_PROGRESS = _("Facts"), _("This picture")

# The contact sheet
SAMPLES, PROMPTS, STEPS_DRAWN = _("Samples"), _("Prompts"), _("Steps")
SHEET_KEYS = _("Left and right arrow: step. Up and down arrow: prompt. Enter: enlarge. S: star.")
BEFORE, START, AT_THE_STEP, STARRED_STEP = _("Before training"), _("Before"), _("Step {step}"), _("{step}, starred")
PICTURE_OF = _("{prompt}, {step}")
PICTURE_FILE = _("{name}, {step}, {prompt}")
COMPARE_SLIDER = _("Position of the divider")
LEFT_SIDE, ANOTHER_RUN, WHICH_RUN, CHOOSE_RUN = _("Left side"), _("Another run …"), _("Which run"), _("Choose a run")
NO_OTHER = _("There is no other picture of this prompt.")
ENLARGE, STAR, STARRED, FOLLOW = _("Enlarge"), _("Star this step"), _("Starred"), _("Follow newest")
GIVES_STEP = _("Step {step} is what you download.")
GIVES_UNLESS = _("Step {step} is what you download, unless you star another one.")
GIVES_NOW = _("Step {step} is what you download now. At the end it is the last step, unless you star another one.")
NOT_KEPT_STEP = _("The style of this step was not kept, so it cannot be starred.")
SOME_DRAWN = _("{drawn} of {all} prompts were drawn at this step. Faded pictures are from earlier steps.")
LEFT_OUT = _("Never drawn: {prompts}.")
DRAW_OTHERS = _("Draw the others")
NO_SAMPLES = _("The first samples are drawn before training, to show the change.")
EARLIER, LATER = _("Earlier"), _("Later")

# The graph
LOSSES = _("Loss, smoothed: {losses}")
LOSS, LOSS_OF_STEP, RATE = _("Loss, smoothed"), _("Loss of each step"), _("Learning rate")
HELD_OUT = _("Held-out loss, unweighted")
NORM, MEMORY_USED, MEGABYTES = _("Gradient norm"), _("Memory"), _("{count} MB")
GRAPH, GRAPH_POSITION, LINES = _("Loss"), _("Loss by step"), _("Lines")
LOSS_HINT = _("The error while learning. It jumps and falls slowly; the samples tell more.")
SMOOTHING, LOG_SCALE, OVER_IT, NO_RUN = _("Smoothing"), _("Log scale"), _("Another run"), _("None")
NO_NUMBER = "–"
LOG = _("Log")

RANKS = _("Rank by layer")
RANKS_HINT = _("Rows are layers, columns are training steps; darker means a higher rank.")
RANKS_PICTURE = _("The rank of each layer over the steps, from light (none) to dark (the largest)")
RANKS_HELD = _("Rank that the change needs")
RANKS_HELD_HINT = _("Rows are layers, columns are training steps; darker means more {}.")
RANKS_HELD_PICTURE = _("In each layer over the steps, from light (none) to dark (the most): {}")
STEPS = _("Steps")
LONGER_TITLE = _("Train {} longer")
LONGER_TEXT = _("Training continues up to this many steps in all. Twice as many take about as long again.")
MORE_STEPS = _("It is already at step {}; to train it longer, enter a larger number")
LONGER_WRONG = _("Enter a whole number larger than {least}, at most {most}.")
RESTART_TITLE = _("Restart {} from zero?")
RESTART_NOTE = _(
    "Everything it has learned goes to the trash, with its samples and style. You can restore it for 30 days."
)
CANCEL_TITLE = _("Stop {} without saving?")
LOSES_ALL = _("Nothing has been saved yet, so all {} steps will be lost.")
LOSES = _("The last {} of {} steps will be lost. It was saved at step {} and can be continued from there.")
LOSES_NOTHING = _("It was saved at step {} and can be continued from there. No style file is written.")
KEEP_TRAINING = _("Keep training")

ON_BASE = _("on {base}")
BY, BY_STUDIO_OWNER = _("by {owner}"), _("by the owner of this studio")

WORD_ALONE = _("Textual inversion")


def device(name: str, view: View | None) -> Message:
    """The activity of a cluster device."""
    if view is None:
        return FREE.format(device=name)
    return BUSY.format(device=name, job=SMALL.get(view.job.kind, view.job.name))


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
