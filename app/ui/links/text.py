"""Texts of the page behind a read-only link."""

from trainers.messages import Message as _

BEFORE, NEWEST, KEPT = _("Before training"), _("Newest"), _("Step {step}")
NO_PICTURES = _("The first pictures appear here soon.")
MADE_WITH = _("Trained with Velatura")
