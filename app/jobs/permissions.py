"""Permissions on runs and styles: everybody may view and copy, only the owner and the machine's owner may change.

A run without an owner comes from the command line or a studio without accounts; it belongs to the machine's owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainers.errors import VelaturaError
from trainers.messages import Message as _

BELONGS_TO = _("“{name}” belongs to {owner}, and only they can change it")
BELONGS_TO_STUDIO = _("“{name}” belongs to the owner of this studio, and only they can change it")
COPYING = ("clone",)
"""Actions that change nothing."""


class NotOwnerError(VelaturaError):
    """Raised if somebody may not change what belongs to another person."""


@dataclass(frozen=True)
class Actor:
    """The person on whose behalf an action runs."""

    name: str = ""
    """Login on a shared studio; empty for the machine's owner (command line, or a studio without accounts)."""

    @property
    def owns_machine(self) -> bool:
        """Whether they may change everything."""
        return not self.name

    def may_change(self, owner: str) -> bool:
        """Whether they may change what belongs to `owner`."""
        return self.owns_machine or self.name == owner

    def check(self, name: str, owner: str) -> None:
        """Raise NotOwnerError if they may not change `name`, which belongs to `owner`."""
        if not self.may_change(owner):
            raise NotOwnerError((BELONGS_TO if owner else BELONGS_TO_STUDIO).format(name=name, owner=owner))

    def permitted(self, owner: str, actions: Sequence[str]) -> tuple[str, ...]:
        """The subset of `actions` allowed on what belongs to `owner`, in the same order."""
        return tuple(what for what in actions if what in COPYING or self.may_change(owner))


MACHINE_OWNER = Actor()
