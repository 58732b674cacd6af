"""Who may do what with runs and styles: everybody may look and copy, only the owner and the machine's owner change.

A run without an owner was made from the command line or in a studio without logins; it belongs to the machine's owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainers.errors import VelaturaError

COPYING = ("clone",)
"""Actions that leave what they are done with as it is."""


class NotOwnerError(VelaturaError):
    """Somebody asked to change what belongs to somebody else."""


@dataclass(frozen=True)
class Actor:
    """The person on whose behalf something is done."""

    name: str = ""
    """Their login on a shared studio; empty for the machine's owner: the command line, or a studio without logins."""

    @property
    def owns_machine(self) -> bool:
        """Whether everything here is theirs to change."""
        return not self.name

    def may_change(self, owner: str) -> bool:
        """Whether what belongs to `owner` is theirs to change."""
        return self.owns_machine or self.name == owner

    def check(self, name: str, owner: str) -> None:
        """Raise NotOwnerError where `name`, which belongs to `owner`, is not theirs to change."""
        if not self.may_change(owner):
            raise NotOwnerError(f"“{name}” belongs to {owner or 'the owner of this studio'}, who alone can change it")

    def permitted(self, owner: str, actions: Sequence[str]) -> tuple[str, ...]:
        """Those of `actions` that they may do with what belongs to `owner`, in the same order."""
        return tuple(what for what in actions if what in COPYING or self.may_change(owner))


MACHINE_OWNER = Actor()
