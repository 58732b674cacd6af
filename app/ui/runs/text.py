"""Texts of the pages about runs."""

from __future__ import annotations

from app.jobs.view import View
from app.ui.components.runs import text as run_words
from trainers.messages import Message
from trainers.messages import Message as _
from trainers.score import best

NO_RUNS = (_("No runs yet"), _("A run is one training, from your pictures to a style file."))
NOTHING_YET, NOTHING_PRINTED = _("Nothing yet."), _("Nothing was printed.")
NO_STYLE = _("there is no style file yet")
NO_SUCH_RUN = (_("There is no such run"), _("It was deleted, or the address is incomplete."))
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
MEASURING, WAITS_TO_MEASURE = _("Measuring “{}”"), _("Waiting to measure “{}”")
MACHINES, NO_DEVICE = _("Machines"), _("It offers no device.")
BUSY, FREE = _("{device}: {job}"), _("{device}: free")
SHOW = _("Show")
SHOWN = {"all": _("All"), "running": _("Running"), "waiting": _("Waiting"), "ended": _("Ended"), "mine": _("Mine")}
NONE_SHOWN = _("No run matches. Shorten the search, or show all.")

# Sweeps
PART_OF = _("Part of the sweep {name}")

UP, DOWN = _("Move up"), _("Move down")
HANDLE = _("Move {}: drag, or press the up and down arrows")
DRAW_NOW, DRAWS_NEXT = _("Draw now"), _("The pictures of the next step are drawn.")
STOP, PAUSE, WITHOUT_SAVING = _("Stop here and keep this"), _("Pause"), _("Stop without saving")
SKIP_PICTURES = _("Skip the last pictures")
GO_ON, GO_ON_FROM = _("Continue"), _("Continue from {step}")
LONGER, AGAIN, ANEW = _("Train longer"), _("Try again"), _("Restart from zero")
CLONE = _("Train again with changes")
CHANGE = _("Change the settings")
AGAIN_WITH, SHOW_LOG = _("Try again: {repair}"), _("Show the log")
AGAIN_LOW = _("Try again with low memory")
AGAIN_HALF, AGAIN_QUARTER = (
    _("Try again with half the learning rate"),
    _("Try again with a quarter of the learning rate"),
)
GO_ON_CHANGED = _("Continue with these images")
AT_ONCE = _("Stop now")


DOWNLOAD_SAMPLES, DOWNLOAD_NUMBERS = _("Download samples"), _("Numbers as CSV")
PROGRESS = _("Training progress")
REPORT, SAVE_REPORT = _("Report a problem"), _("Save as a ZIP")
REPORT_HELP = _(
    "This is everything in the report: versions, settings, events, messages and numbers, without pictures, captions, "
    "names, passwords or folders. Save it, and attach it where you describe the problem."
)

# The menu of a run
TRY, DOWNLOAD_STEP, DOWNLOAD_FOR = _("Try it"), _("Download step {step}"), _("Download step {step} for {program}")
MENU = _("More actions for {name}")
SHARE, SHARED = _("Share a read-only link"), _("Whoever has this link can watch this run without a login.")
SHARED_HERE = _(
    "This link opens on this computer only, because the studio is not open to your network. Whoever runs the studio "
    "can open it."
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
DRAWING, WRITING = _("Drawing picture {number} of {count}"), _("Writing the file")
DRAWING_IN = {
    "before": _("Before training: drawing picture {number} of {count}"),
    "after": _("From the finished style: drawing picture {number} of {count}"),
}
"""Phases in which a run draws no samples between two steps."""
PREPARING_IN = {"encode": _("Preparing the pictures …"), "class-images": _("Drawing pictures of the class …")}
TIME_LEFT_TITLE = _("{time} left · {name}")
PERCENT_TITLE = _("{percent} · {name}")

PICTURE_PROGRESS = _("This picture")

# The contact sheet
SAMPLES, PROMPTS, STEPS_DRAWN = _("Samples"), _("Prompts"), _("Steps")
SHEET_KEYS = _(
    "Left and right arrow: step. Up and down arrow: prompt. Enter: enlarge. S: star. C: candidate. "
    "T: next training picture."
)
GUEST_KEYS = _("Left and right arrow: step. Up and down arrow: prompt. Enter: enlarge.")
BEFORE, START, AT_THE_STEP, STARRED_STEP = _("Before training"), _("Before"), _("Step {step}"), _("{step}, starred")
NOTE, TAGS = _("Note"), _("Tags, separated by commas")
CANDIDATE, CANDIDATE_STEP, COMPARE = _("Candidate"), _("{step}, candidate"), _("Compare")
CANDIDATE_HINT = _("Up to two more steps that you cannot decide between")
PICTURE_OF = _("{prompt}, {step}")
TRAINING_PICTURE, TRAINED_ON = _("Training picture"), _("Training picture: {caption}")
NEXT_TRAINING = _("Next training picture")
PICTURE_FILE = _("{name}, {step}, {prompt}")
COMPARE_SLIDER = _("Position of the divider")
LEFT_SIDE, ANOTHER_RUN, WHICH_RUN, CHOOSE_RUN = _("Left side"), _("Another run …"), _("Which run"), _("Choose a run")
NO_OTHER = _("There is no other picture of this prompt.")
ENLARGE, STAR, STARRED, FOLLOW = _("Enlarge"), _("Star this step"), _("Starred"), _("Follow newest")
GIVEN = _("Your download")
GIVES_STEP = _("Step {step} is what you download.")
GIVES_UNLESS = _("Step {step} is what you download, unless you star another one.")
GIVES_NOW = _("Step {step} is what you download now. At the end it is the last step, unless you star another one.")
GIVES_BEST = _("Step {step} is the best one and what you download, unless you star another one.")
GIVES_BEST_NOW = _("Step {step} is the best one so far and what you download now, unless you star another one.")
GIVES_UNMARKED = _("Step {step} is what you download, although no step is marked: see “Style and change” below.")
GIVES_AGAINST = _("Step {step} is what you download; by its scores step {best} is the best one.")
NOT_DRAWN_STEP = _("Step {step} has no pictures of this prompt.")
NOT_KEPT_STEP = _("The style of this step was not kept, so it cannot be starred.")
SOME_DRAWN = _("{drawn} of {all} prompts were drawn at this step. Faded pictures are from earlier steps.")
LEFT_OUT = _("Never drawn: {prompts}.")
DRAW_OTHERS = _("Draw the others")
NO_SAMPLES = _("The first samples are drawn before training, to show the change.")
EARLIER, LATER = _("Earlier"), _("Later")

# The graph
LOSS, LOSS_OF_STEP, RATE = _("Loss, smoothed"), _("Loss of each step"), _("Learning rate")
HELD_OUT = _("Held-out loss, unweighted")
NORM, MEMORY_USED, MEGABYTES = _("Gradient norm"), _("Memory"), _("{count} MB")
GRAPH, GRAPH_POSITION, LINES = _("Loss"), _("Loss by step"), _("Lines")
LOSS_HINT = _("The error while learning. It jumps and falls slowly; the samples tell more.")
HELD_OUT_HINT = _("The held-out loss rises when pictures are memorised.")
SCORES, SCORES_TABLE = _("Style and change"), _("As a table")
SCORES_HINT = _(
    "Distance in style from your pictures, as a share of the base's (dashed): lower is nearer. Below it, how much the "
    "pictures differ from the base's of the same prompts: 0 is not at all, 1 about as much as those of two prompts. Of "
    "the steps with nine tenths of the best gain in style, the one with the least change is the best."
)
CHECKED_ON = best.CHECKED_ON
DISTANCE, CHANGE_OF_PICTURES, SHARE_OF_BASE = _("Distance in style"), _("Change of the pictures"), _("{share}%")
BASE_ALONE, BEST_STEP = _("The base, before training"), _("Step {step}, the best")
ALIKE_STEP = _("Step {step}, pictures almost alike")
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


def device(name: str, view: View | None) -> Message:
    """The activity of a cluster device."""
    if view is None:
        return FREE.format(device=name)
    return BUSY.format(device=name, job=run_words.SMALL.get(view.job.kind, view.job.name))
