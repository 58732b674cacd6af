"""Texts of the page Compare."""

from __future__ import annotations

from trainers.messages import Message as _

TITLE = _("Compare")
LEAD = _(
    "The same prompts, as each run last drew them. Choose a picture to enlarge it; the arrow keys lead to the others."
)
EMPTY = (_("Nothing to compare yet"), _("Tick two to four runs in the list of runs and choose Compare."))
ONE = (
    _("One run alone"),
    _("{} has nothing to compare with. Tick a second run in the list of runs and choose Compare."),
)
NOT_THERE = (
    _("Not enough runs to compare"),
    _("{}: deleted, or the address is incomplete. Tick two to four in the list."),
)
MISSING = _("Left out, as they no longer exist: {}.")
TOO_MANY = _("At most four runs can be compared; these are the first four.")
OTHER_BASES = _(
    "These runs use different base models, so their pictures and losses differ by more than what was learned."
)
OTHER_SEEDS = _("The samples were drawn with different seeds, so a difference may be chance.")
NONE_SHARED = _("No prompt was drawn by more than one of these runs, so no picture has a counterpart.")
ALONE = _("Prompts that only one run has drawn")
NOT_DRAWN = _("not drawn")
NO_PICTURES = _("None of these runs has drawn a sample yet. They appear here by themselves.")
TO_THE_LEFT, TO_THE_RIGHT = _("The run to the left"), _("The run to the right")
NOTHING_DRAWN = _("no samples yet")
BEFORE_TRAINING, AT_STEP, UP_TO_STEP = _("before training"), _("at step {}"), _("up to step {}")
DIFFERENCES, ALL_THE_SAME = _("What differs"), _("Every setting is the same.")
NOT_READ = _("The settings of {} could not be read.")
NOT_OF_IT, NOTHING = "–", _("nothing")
SETTING = _("Setting")
LOSS_HINT = _("A lower loss is not always a better style: judge by the pictures.")
NO_LOSS = _("Nothing has been trained yet.")

# In the list of runs
TICK = _("Compare {}")
TICKED = {
    "one": _("{names}: tick one to three more."),
    "some": _("{count} runs: {names}"),
    "many": _("{count} runs are ticked; at most four can be compared."),
}
COMPARE, CLEAR = _("Compare"), _("Clear")
BAR = _("Runs to compare")
