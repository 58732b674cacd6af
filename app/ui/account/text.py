"""Texts of the Account page."""

from __future__ import annotations

from trainers.messages import Message as _

TITLE = _("Account")
PASSWORD, CURRENT = _("Password"), _("Current password")
PASSWORD_LEAD = _("At least {least} characters. A new password logs you out everywhere else.")
CHANGE_PASSWORD, PASSWORD_CHANGED = _("Change password"), _("Your password was changed. You are logged out elsewhere.")
NEW_PASSWORD, REPEAT_PASSWORD = _("New password"), _("Repeat it")
WRONG_CURRENT = _("The current password is wrong, so nothing was changed.")
BROWSER, BROWSER_LEAD = _("Language and theme"), _("They apply at once, in this browser.")
THEME, THEMES = _("Theme"), {"": _("As the system"), "light": _("Light"), "dark": _("Dark")}
YOU = _("You are logged in as {name} ({role}).")
ROLES = {"admin": _("admin"), "member": _("member")}
TOKENS = _("Tokens for programs")
TOKENS_LEAD = _(
    "A program that sends a token may do through the API whatever you may. Give each program its own, and revoke it "
    "when it is no longer needed."
)
NAME, DAYS, NEVER = _("What is it for?"), _("Expires after (days)"), _("never")
MAKE, REVOKE, REVOKE_IT = _("Make a token"), _("Revoke"), _("Revoke the token {name}")
SHOWN_ONCE = _("This is the token “{name}”. Copy it now: it is not shown again.")
REVOKED = _("The token “{name}” no longer works.")
FOR_METRICS = _("only reads /metrics")
USED, NEVER_USED = _("used {day}"), _("never used")
ENDS = _("ends {day}")
PEOPLE, PERSON = _("People"), _("Name")
ADD, ADD_LEAD = _("Add a person"), _("They choose their own password behind a link that works once.")
INVITE = _("Make an invitation link")
INVITED = _("Send this link to {name}. It works once, for {days} days, and is not shown again.")
LINK, TOKEN, COPY, COPIED = _("Invitation link"), _("Token"), _("Copy"), _("Copied")
OPEN_INVITATIONS, UNTIL = _("Open invitations"), _("{role}, until {day}")
INVITATION = _("Invitation")
YOU_ARE_INVITED = _("You were invited to this studio as {name}. Choose a password of at least {least} characters.")
NOT_INVITED = _(
    "This invitation does not work: it was used or withdrawn, or it is more than a week old. Ask whoever sent it for a "
    "new link."
)
OPEN_STUDIO = _("Open the studio")
WITHDRAW, WITHDRAW_IT = _("Withdraw"), _("Withdraw the invitation of {name}")
WITHDRAWN = _("The invitation of {name} no longer works.")
PEOPLE_LEAD = _(
    "Admins may change everybody's runs and styles. An empty field takes the value of “Everybody”; an empty storage "
    "there takes the one that the studio was started with. “velatura people remove NAME” removes an account."
)
NO_ADMIN_LEFT = _("Somebody must stay an admin, so nothing was changed.")
EVERYBODY = _("Everybody")
ROLE, WAITING, STORAGE = _("Role"), _("Max. queued runs"), _("Storage in GB")
ROLE_OF, WAITING_OF = _("Role of {name}"), _("Max. queued runs of {name}")
STORAGE_OF = _("Storage of {name} in GB")
SAVE, SAVED = _("Save"), _("Saved.")
OTHERS = _("Tokens of others")
LOG, LOG_LEAD = _("Audit log"), _("The newest entries. The command “velatura audit” shows more.")
TIME, WHO, WHAT, ABOUT, DETAILS = _("Time (UTC)"), _("Who"), _("Action"), _("About"), _("Details")
UNKNOWN, OWNER = _("unknown"), _("owner of the machine")
REFUSED = _("{action} (refused)")
ACTIONS = {
    "login_failed": _("wrong password"),
    "token_failed": _("wrong token"),
    "invitation_failed": _("wrong link"),
    "login": _("log in"),
    "logout": _("log out"),
    "password": _("change a password"),
    "token_made": _("make a token"),
    "token_revoked": _("revoke a token"),
    "invited": _("invite"),
    "invitation_withdrawn": _("withdraw an invitation"),
    "person_added": _("add an account"),
    "person_removed": _("remove an account"),
    "role": _("change a role"),
    "limit": _("change a limit"),
    "give": _("change an owner"),
    "start": _("start"),
    "stop": _("stop"),
    "cancel": _("stop without saving"),
    "draw": _("draw now"),
    "pause": _("pause"),
    "resume": _("continue"),
    "retry": _("restart"),
    "change": _("change settings"),
    "move": _("change places"),
    "share": _("share a link"),
    "unshare": _("end a link"),
    "rename": _("rename"),
    "delete": _("delete"),
    "restore": _("restore"),
    "empty": _("empty the trash"),
}
"""Names of the log's actions."""
NOT_WHOLE = _("Type a whole number, or nothing; found {value:.40}.")
