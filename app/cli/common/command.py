"""The class of all commands, which refuses a single-value option that is given twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperOption

from trainers.errors import VelaturaError
from trainers.messages import Message as _

if TYPE_CHECKING:
    from collections.abc import Iterable

TWICE = _("{option} is given twice, but takes one value; leave one of them out")
IMAGES_TWICE = _(
    "--images is given twice, but takes one folder; put the pictures into one folder, with subfolders if you like"
)


class Command(TyperCommand):
    """A command that refuses repeated single-value options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. VelaturaError if a single-value option is given twice."""
        _values, _rest, given = self.make_parser(ctx).parse_args(args=list(args))
        check_once(given)
        return super().parse_args(ctx, args)


def check_once(given: Iterable[object]) -> None:
    """Raise VelaturaError if a single-value option is given twice."""
    for option, count in Counter(each for each in given if isinstance(each, TyperOption)).items():
        if count > 1 and not (option.multiple or option.is_flag):
            name = max(option.opts, key=len)
            problem = IMAGES_TWICE if name == "--images" else TWICE.format(option=name)
            raise VelaturaError(problem)


def use_command_class(commands: typer.Typer) -> None:
    """Make all commands of a group, and of the groups in it, instances of `Command`."""
    for command in commands.registered_commands:
        command.cls = Command
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            use_command_class(group.typer_instance)
