"""Texts of the Account page."""

from __future__ import annotations

from trainers.messages import Message as _

TITLE = _("Account")
BACK = _("Back to the studio")
YOU = _("You are logged in as {name} ({role}).")
ROLES = {"admin": _("admin"), "member": _("member")}
TOKENS = _("Tokens for programs")
TOKENS_LEAD = _(
    "A program that sends a token may do through the API whatever you may. Give each program its own, and revoke it "
    "when it is no longer needed."
)
NO_TOKENS = _("You have no tokens.")
NAME, DAYS, NEVER = _("What is it for?"), _("Expires after (days)"), _("never")
MAKE, REVOKE, REVOKE_IT = _("Make a token"), _("Revoke"), _("Revoke the token {name}")
SHOWN_ONCE = _("This is the token “{name}”. Copy it now: it is not shown again.")
REVOKED = _("The token “{name}” no longer works.")
FOR_METRICS = _("only reads /metrics")
USED, NEVER_USED = _("used {day}"), _("never used")
ENDS = _("ends {day}")
PEOPLE = _("People")
PEOPLE_LEAD = _(
    "An admin may change everybody's runs and styles. Empty: the default for everybody, which for storage is what the "
    "studio was started with."
)
EVERYBODY = _("Everybody")
ROLE, WAITING, STORAGE = _("Role"), _("Max. queued runs"), _("Storage in GB")
ROLE_OF, WAITING_OF = _("Role of {name}"), _("Max. queued runs of {name}")
STORAGE_OF = _("Storage of {name} in GB")
SAVE, SAVE_IT, SAVED = _("Save"), _("Save {name}"), _("Saved.")
OTHERS = _("Tokens of others")
LOG, LOG_LEAD = _("Audit log"), _("The newest entries. The command “velatura audit” shows more.")
TIME, WHO, WHAT, ABOUT, DETAILS = _("Time (UTC)"), _("Who"), _("Action"), _("About"), _("Details")
UNKNOWN, OWNER = _("unknown"), _("owner of the machine")
NOT_WHOLE = _("Type a whole number, or nothing; found {value:.40}.")
