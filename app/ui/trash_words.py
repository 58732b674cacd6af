"""What the page about the trash says."""

from __future__ import annotations

TITLE = "Trash"
LEAD = "What was deleted, restarted or replaced stays here for 30 days, and comes back as it was."
EMPTY = ("The trash is empty", "What you delete or restart stays here for 30 days, and comes back as it was.")
KINDS = {
    "run": "Run",
    "restarted": "Run before a restart",
    "replaced": "Run that was replaced",
    "style": "Style",
    "drawing": "Picture",
    "pictures": "Taken out in Train",
}
DELETED, LEFT, LAST_DAY = "deleted {}", "{} days left", "gone within a day"
RESTORE, EMPTY_NOW = "Restore", "Empty now"
HOLDS = "Trash · {} · {}"
EMPTY_TITLE, EMPTY_TEXT = "Empty the trash?", "All that is yours in it is deleted for good: {}."
KEEP, DELETE = "Keep", "Delete for good"
EMPTIED = "The trash is empty; {} were freed."
