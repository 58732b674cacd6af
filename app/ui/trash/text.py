"""What the page about the trash says."""

from __future__ import annotations

TITLE = "Trash"
LEAD = "What was deleted, restarted or replaced stays here for 30 days. Restore brings it back as it was."
EMPTY = ("The trash is empty", "What you delete, restart or replace stays here for 30 days and can be brought back.")
KINDS = {
    "run": "Run",
    "restarted": "Run before a restart",
    "replaced": "Run that was replaced",
    "style": "Style",
    "drawing": "Picture",
    "pictures": "Taken out in Train",
    "damaged": "Cannot be read",
    "newer": "Made by a newer Velatura",
}
WHEN = {"restarted": "restarted {}", "replaced": "replaced {}"}
DELETED, LEFT = "deleted {}", "{} left"
RESTORE, RESTORE_IT, EMPTY_NOW = "Restore", "Restore {}", "Empty now"
EMPTY_TITLE, EMPTY_TEXT = "Empty the trash?", "{} will be deleted for good. This cannot be undone."
DELETE = "Delete for good"
EMPTIED = "The trash was emptied, which freed {}."
