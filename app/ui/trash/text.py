"""Texts of the Trash page."""

from __future__ import annotations

from app.units import readable_size
from trainers.messages import Message, plural
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
LINKED = _("its read-only link works again once it is restored")
LINK_WORKS = _("Its read-only link works again.")
RESTORE, RESTORE_IT, EMPTY_NOW = _("Restore"), _("Restore {}"), _("Empty now ({size})")
EMPTY_TITLE = _("Empty the trash?")
DELETE = _("Delete for good")
EMPTIED = _("The trash was emptied, which freed {}.")


def empty_text(count: int, size: int) -> Message:
    """A warning before a trash of `count` items, `size` bytes together, is emptied."""
    return plural(
        "{count} item ({size}) will be deleted for good. This cannot be undone.",
        "{count} items ({size}) will be deleted for good. This cannot be undone.",
        count,
        size=readable_size(size),
    )
