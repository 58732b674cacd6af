"""What the page about the trash says."""

from __future__ import annotations

from trainers.messages import Message as _

TITLE = _("Trash")
LEAD = _("What was deleted, restarted or replaced stays here for 30 days. Restore brings it back as it was.")
EMPTY = (
    _("The trash is empty"),
    _("What you delete, restart or replace stays here for 30 days and can be brought back."),
)
KINDS = {
    "run": _("Run"),
    "restarted": _("Run before a restart"),
    "replaced": _("Run that was replaced"),
    "style": _("Style"),
    "drawing": _("Picture"),
    "pictures": _("Taken out in Train"),
    "damaged": _("Cannot be read"),
    "newer": _("Made by a newer Velatura"),
}
WHEN = {"restarted": _("restarted {}"), "replaced": _("replaced {}")}
DELETED, LEFT = _("deleted {}"), _("{} left")
RESTORE, RESTORE_IT, EMPTY_NOW = _("Restore"), _("Restore {}"), _("Empty now")
EMPTY_TITLE, EMPTY_TEXT = _("Empty the trash?"), _("{} will be deleted for good. This cannot be undone.")
DELETE = _("Delete for good")
EMPTIED = _("The trash was emptied, which freed {}.")
