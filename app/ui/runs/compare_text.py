"""What the page that puts runs side by side says."""

from __future__ import annotations

TITLE = "Compare"
LEAD = (
    "The same prompts, as each run last drew them. Choose a picture to enlarge it; the arrow keys lead to the others."
)
EMPTY = ("Nothing to compare yet", "Tick two to four runs in the list of runs and choose Compare.")
ONE = ("One run alone", "{} has nothing to compare with. Tick a second run in the list of runs and choose Compare.")
NOT_THERE = (
    "Not enough runs to compare",
    "{}: deleted, or the address is incomplete. Tick two to four in the list.",
)
MISSING = "Left out, as they no longer exist: {}."
TOO_MANY = "At most four runs can be compared; these are the first four."
OTHER_BASES = "These runs use different base models, so their pictures and losses differ by more than what was learned."
OTHER_SEEDS = "The samples were drawn with different seeds, so a difference may be chance."
NONE_SHARED = "No prompt was drawn by more than one of these runs, so no picture has a counterpart."
ALONE = "Prompts that only one run has drawn"
NOT_DRAWN = "not drawn"
NO_PICTURES = "None of these runs has drawn a sample yet. They appear here by themselves."
TO_THE_LEFT, TO_THE_RIGHT = "The run to the left", "The run to the right"
NOTHING_DRAWN = "no samples yet"
BEFORE_TRAINING, AT_STEP, UP_TO_STEP = "before training", "at step {}", "up to step {}"
DIFFERENCES, ALL_THE_SAME = "What differs", "Every setting is the same."
NOT_READ = "The settings of {} could not be read."
NOT_OF_IT, NOTHING = "–", "nothing"
SETTING = "Setting"
LOSS_HINT = "A lower loss is not always a better style: judge by the pictures."
NO_LOSS = "Nothing has been trained yet."

# In the list of runs
TICK = "Compare {}"
TICKED = {
    "one": "{names}: tick one to three more.",
    "some": "{count} runs: {names}",
    "many": "{count} runs are ticked; at most four can be compared.",
}
COMPARE, CLEAR = "Compare", "Clear"
BAR = "Runs to compare"
