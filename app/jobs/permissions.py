"""Permissions on runs and styles: everybody may view and copy; the owner, admins and the machine's owner may change.

A run without an owner comes from the command line or a studio without accounts; it belongs to the machine's owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trainers.errors import VelaturaError
from trainers.messages import Message as _

BELONGS_TO = _("“{name}” belongs to {owner}, and only they can change it")
BELONGS_TO_STUDIO = _("“{name}” belongs to the owner of this studio, and only they can change it")
ADMIN, MEMBER = "admin", "member"
"""Roles of people on a shared studio."""
COPYING = ("clone",)
"""Actions that change nothing."""


class NotOwnerError(VelaturaError):
    """The actor may not change what belongs to another person."""


@dataclass(frozen=True)
class Actor:
    """The person on whose behalf an action runs."""

    name: str = ""
    """Login on a shared studio; empty for the machine's owner (command line, or a studio without accounts)."""
    is_admin: bool = False
    """Whether they have the role of an admin."""
    address: str = field(default="", compare=False)
    """Address of the request, for the audit log."""
    token: str = field(default="", compare=False)
    """Id of the token with which a program acts for them."""
    key: str = field(default="", compare=False)
    """Key under which their draft and generations are stored."""
    tab: str = field(default="", compare=False)
    """Id of the page that sent the request; every load of a page has a new one."""

    @property
    def owns_machine(self) -> bool:
        """Whether they are the owner of the machine."""
        return not self.name

    def owns(self, owner: str) -> bool:
        """Whether `owner` is this actor; the machine's owner owns everything."""
        return self.owns_machine or self.name == owner

    def may_change(self, owner: str) -> bool:
        """Whether they may change what belongs to `owner`."""
        return self.is_admin or self.owns(owner)

    def check(self, name: str, owner: str) -> None:
        """Raise NotOwnerError if they may not change `name`, which belongs to `owner`."""
        if not self.may_change(owner):
            raise NotOwnerError((BELONGS_TO if owner else BELONGS_TO_STUDIO).format(name=name, owner=owner))

    def permitted(self, owner: str, actions: Sequence[str]) -> tuple[str, ...]:
        """The subset of `actions` allowed on what belongs to `owner`, in the same order."""
        return tuple(what for what in actions if what in COPYING or self.may_change(owner))


MACHINE_OWNER = Actor()
