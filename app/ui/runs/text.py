"""What the pages about runs say."""

from __future__ import annotations

from app.errors import as_sentence
from app.jobs.permissions import Actor
from app.jobs.states import State
from app.jobs.store import TRAIN
from app.jobs.views import View
from app.studio.runs.failures import failure_of, offer
from app.studio.studio_queue import Activity, share
from app.ui.components import text as shared
from app.units import readable_time
from trainers.errors import VelaturaError

TITLE = "Runs"
NO_RUNS = ("No runs yet", "A run is one training, from your pictures to a style file.")
NOTHING_YET = "Nothing yet."
NO_STYLE = "there is no style file yet"
NO_SUCH_RUN = ("There is no such run", "It was deleted, or the address is incomplete.")
TO_THE_RUNS = "Go to Runs"
QUEUE_DAMAGED = (
    "The queue is damaged, so no run can start. Your runs and styles are safe, and runs that are training go on. "
    "Repairing rebuilds the queue from its backup and the run folders, and keeps the damaged file."
)
ASK_TO_REPAIR = (
    "The queue is damaged, so no run can start. Runs and styles are safe. "
    "Whoever runs this studio can repair it with: velatura queue repair"
)
REPAIR = "Repair the queue"
REPAIRED = "The queue was rebuilt from {}. The damaged file is kept as {}."
BACKUP_AND_RUNS, RUNS_ALONE = "its backup and the run folders", "the run folders"
ALSO = "Also using the computer"
SMALL = {"estimate": "Measuring a run", "caption": "Writing captions", "generate": "Drawing a picture"}
MEASURING = "Measuring “{}”"
SHOW = "Show"
SHOWN = {"all": "All", "running": "Running", "waiting": "Waiting", "ended": "Ended", "mine": "Mine"}
NONE_SHOWN = "No run matches. Shorten the search, or show all."

STATES = {
    State.QUEUED: "Waiting",
    State.PREPARING: "Preparing",
    State.TRAINING: "Training",
    State.SAMPLING: "Drawing samples",
    State.WORKING: "Working",
    State.SAVING: "Saving",
    State.HANGING: "Hanging",
    State.STOPPING: "Stopping",
    State.PAUSED: "Paused",
    State.STOPPED: "Stopped",
    State.FINISHED: "Finished",
    State.FAILED: "Failed",
    State.INTERRUPTED: "Interrupted",
    State.CANCELLED: "Cancelled",
}
UP, DOWN = "Move up", "Move down"
HANDLE = "Move {}: drag, or press the up and down arrows"
STOP, PAUSE, WITHOUT_SAVING = "Stop here and keep this", "Pause", "Stop without saving"
GO_ON, LONGER, AGAIN, ANEW, CLONE = "Continue", "Train longer", "Try again", "Restart from zero", "Clone"
AGAIN_HALF, AGAIN_LOW = "Try again with half the learning rate", "Try again with low memory"
AT_ONCE = "Stop now"

PLAIN_PLACE, PLACE_AND_START = "{} in line.", "{place} in line, starts in about {time}."
AT_STEP = " at step {}"
RAN_AWAY = "The loss diverged{}; {}. Halving the learning rate usually helps."
KEPT, NOTHING_KEPT = "what it had learned up to step {} is kept", "nothing had been saved yet"
NO_MEMORY = "There was not enough memory{}. {}"
LOW_NEEDS_LESS = "Low memory needs less; it is slower, with the same result."
SMALLER_NEEDS_LESS = "Its settings already need little memory; a lower resolution needs less."
NO_ROOM = "The disk was full{}. Free some space, for example by deleting old runs, and try again.{}"
GOES_ON_FROM = " It can continue from step {}."
UNFORESEEN = "Something unexpected went wrong{}. Details shows what."

DOWNLOAD_SAMPLES, DOWNLOAD_NUMBERS = "Download samples", "Numbers as CSV"
PROGRESS = "Training progress"

# The menu of a run
TRY, DOWNLOAD = "Try it", "Download"
MENU = "More actions for {name}"
SHARE, SHARED = "Share a read-only link", "Whoever has this link can watch this run without a login."
LINK, COPY, COPIED, UNSHARE = "Read-only link", "Copy", "Copied", "Stop sharing"
UNSHARED = "The link no longer shows this run."
ONLY_OWNER = "Only {owner} can do this."
NO_STYLE_YET, NO_SAMPLES_YET = "There is no style yet.", "There are no samples yet."
NOT_TRAINING, NOT_SAVED = "It is not training.", "Nothing has been saved to continue from."
NOT_BEGUN, STILL_AT_WORK, STILL_WAITS = "It has not begun yet.", "Stop it first.", "It is still waiting."
HAS_ENDED, HAS_FINISHED, NOT_FINISHED = "It has ended.", "It has finished.", "It has not finished yet."

# The line of facts
OF_STEPS = "Step {step} of {steps}"
DRAWING, WRITING = "Drawing picture {number} of {count}", "Writing the file"
DRAWING_IN = {
    "before": "Before training: drawing picture {number} of {count}",
    "after": "From the finished style: drawing picture {number} of {count}",
}
"""In phases of a run in which it does not draw between two steps."""
PREPARING_IN = {"encode": "Encoding the pictures …", "class-images": "Drawing pictures of the class …"}
TIME_LEFT, TIME_LEFT_TITLE = "{time} left", "{time} left · {name}"
PERCENT_TITLE = "{percent} · {name}"
TOOK, MEMORY_OF, FILE_OF = "{steps} in {time}", "{size} of memory", "{size} file"
FACTS, PICTURE_PROGRESS = "Facts", "This picture"

# The contact sheet
SAMPLES, PROMPTS, STEPS_DRAWN = "Samples", "Prompts", "Steps"
SHEET_KEYS = "Left and right arrow: step. Up and down arrow: prompt. Enter: enlarge. S: star."
BEFORE, START, AT_THE_STEP, STARRED_STEP = "Before training", "Before", "Step {step}", "{step}, starred"
PICTURE_OF = "{prompt}, {step}"
PICTURE_FILE = "{name}, {step}, {prompt}"
COMPARE_SLIDER = "Position of the divider"
COMPARE_WITH, ANOTHER_RUN, WHICH_RUN, CHOOSE_RUN = "Compare with", "Another run …", "Which run", "Choose a run"
NO_OTHER = "There is no other picture of this prompt."
ENLARGE, STAR, FOLLOW = "Enlarge", "Star this step", "Follow newest"
GIVES_STEP = "Download and Try it give step {step}."
GIVES_FINAL = "Download and Try it give the finished style, step {step}, until you star another step."
GIVES_NEWEST = "Download and Try it give the newest kept step, {step}, until you star another one."
NOT_KEPT_STEP = "The style of this step was not kept, so it cannot be starred."
NO_SAMPLES = "The first samples are drawn before training, to show the change."
EARLIER, LATER = "Earlier", "Later"

# The graph
LOSS, LOSS_OF_STEP, HELD_OUT, RATE = "Loss, smoothed", "Loss of each step", "Held-out loss", "Learning rate"
NORM, MEMORY_USED, MEGABYTES = "Gradient norm", "Memory", "{count} MB"
GRAPH, GRAPH_POSITION, LINES = "Loss", "Loss by step", "Lines"
SMOOTHING, LOG_SCALE, OVER_IT, NO_RUN = "Smoothing", "Log scale", "Another run", "None"
NO_NUMBER = "none"
LOG = "Log"

RANKS = "Rank by layer"
RANKS_HINT = "Rows are layers, columns are training steps; darker means a higher rank."
RANKS_PICTURE = "The rank of each layer over the steps, from light (none) to dark (the largest)"
RANKS_HELD = "Rank that the change needs"
RANKS_HELD_HINT = "Rows are layers, columns are training steps; darker means more {}."
RANKS_HELD_PICTURE = "In each layer over the steps, from light (none) to dark (the most): {}"
DELETE_TEXT = "Its pictures, samples and style file are deleted too. You can restore it from the trash for 30 days."
STEPS = "Steps"
LONGER_TITLE = "Train {} longer"
LONGER_TEXT = "Training continues up to this total number of steps."
MORE_STEPS = "It is already at step {}; to train it longer, enter a larger number"
LONGER_WRONG = "Enter a whole number larger than {least}, at most {most}."
RESTART_TITLE = "Restart {} from zero?"
RESTART_NOTE = (
    "Everything it has learned goes to the trash, with its samples and style. You can restore it for 30 days."
)
CANCEL_TITLE = "Stop {} without saving?"
LOSES_ALL = "Nothing has been saved yet, so all {} steps will be lost."
LOSES = "The last {} of {} steps will be lost. It was saved at step {} and can be continued from there."
LOSES_NOTHING = "It was saved at step {} and can be continued from there. No style file is written."
KEEP_TRAINING = "Keep training"

NOT_YOURS = "This run belongs to {}. You can look at it, clone it and download what it made; only they can change it."
STUDIO_OWNER = "the owner of this studio"

WORD_ALONE = "Textual inversion"


def activity(now: Activity) -> str:
    """What the computer does, in one line; empty where it does nothing."""
    if not now.is_known:
        return shared.QUEUE_PROBLEM
    parts = []
    if now.view is not None:
        job, done = now.view.job, share(now.view)
        name = job.name if job.kind == TRAIN else SMALL.get(job.kind, job.kind)
        parts.append(f"{name}: {done:.0%}" if done or job.kind == TRAIN else name)
    parts += [f"{now.more} more"] if now.more else []
    parts += [f"{now.waiting} waiting"] if now.waiting else []
    return ", ".join(parts)


def brief(now: Activity) -> str:
    """How far the running job is and how long it still takes, short enough for a tab's title; "" where none runs."""
    if now.view is None:
        return ""
    left = now.view.summary.seconds_left
    return f"{share(now.view):.0%}" + (f" · {readable_time(left)}" if left is not None else "")


def line(view: View, wait: float | None = None) -> str:
    """The sentence on a run; of one that has failed, what was wrong and what to change.

    `wait` are seconds until it starts, where it waits and they are known.
    """
    if wait is not None and view.line == PLAIN_PLACE.format(place := view.line.partition(" ")[0]):
        return PLACE_AND_START.format(place=place, time=readable_time(wait))
    if view.state != State.FAILED:
        return view.line
    step, saved = AT_STEP.format(view.summary.step) if view.summary.step else "", view.summary.saved
    match failure_of(view):
        case "diverged":
            return RAN_AWAY.format(step, KEPT.format(saved) if saved else NOTHING_KEPT)
        case "out_of_memory":
            return NO_MEMORY.format(step, LOW_NEEDS_LESS if offer(view) else SMALLER_NEEDS_LESS)
        case "disk_full":
            return NO_ROOM.format(step, GOES_ON_FROM.format(saved) if saved else "")
        case "unexpected":
            return UNFORESEEN.format(step)
    return as_sentence(VelaturaError(view.line))


def by(owner: str, actor: Actor) -> str:
    """Whose a run or a style is, where whoever looks does not know it anyway."""
    return f"by {owner}" if owner else "" if actor.owns_machine else "by the owner of this studio"


def method_titles() -> dict[str, str]:
    """The names of all methods as their papers write them, by their names in settings."""
    from trainers.adapters.methods import METHODS

    return {name: kind.about.title for name, kind in METHODS.items()} | {"textual-inversion": WORD_ALONE}


def method(name: str) -> str:
    """A method as its paper writes it; several with + between them."""
    titles = method_titles()
    return " + ".join(titles.get(part, part) for part in name.split("+"))
