"""Texts of the page Sweep."""

from __future__ import annotations

from trainers.messages import Message as _

NO_SUCH_SWEEP = _("There is no such sweep")
TO_THE_LEFT, TO_THE_RIGHT = _("The picture to the left"), _("The picture to the right")

STOP_ALL, CONTINUE = _("Stop all runs"), _("Continue the others")
FIRST, LAST = _("Move to the front"), _("Move to the end")
STOPPED, CONTINUED, MOVED = _("Stopped: {runs}."), _("Waiting again: {runs}."), _("Moved: {runs}.")

PICTURES = _("Samples")
PICTURES_LEAD = _("The same prompts and seeds, as each run last drew them. Choose a picture to enlarge it.")
NO_PICTURES = _("No run has drawn a sample yet. They appear here by themselves.")
NOT_DRAWN = _("not drawn")
SHEET = _("Download as one picture")

RESULTS = _("Results")
RUN, STATE, LOSS, HELD_OUT = _("Run"), _("State"), _("Loss"), _("Held-out loss")
TIME, FILE, MEMORY = _("Time"), _("File"), _("Memory")
STYLE, BEST = _("Distance in style"), _("Best step")
MEANING_STYLE = _(
    "Distance in style is that of the best step, as a share of the base's: lower is nearer to your style."
)
MEANING = _(
    "Loss is the smoothed training loss at the last step. It compares runs with the same seed, and ranks nothing."
)
MEANING_HELD_OUT = _(
    "Held-out loss is that of images left out of training. It rises when pictures are memorised, and ranks nothing."
)
MEANS, SEEDS, SPREAD, OF_SEEDS = _("Mean over seeds"), _("Seeds"), _("Spread"), _("{count} of {total}")
MEANING_SPREAD = _(
    "Spread is the largest number of these runs less the smallest. A smaller difference between means may be chance."
)
KEEP, KEPT, UNKEEP = _("Keep this one"), _("Your choice"), _("Undo")
KEEP_NAME, UNKEEP_NAME = _("Keep this one: {name}"), _("Undo the choice of {name}")
CSV = _("Table as CSV")
DELETED = _("deleted")
UNKNOWN = "–"

LOSSES, LINES_BEST = _("Loss, smoothed"), _("The {count} runs with the lowest loss.")
NO_LOSS = _("Nothing has been trained yet.")
