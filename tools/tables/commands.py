"""The commands of the command line, from their help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from tools.markdown import table


def commands() -> list[str]:
    """Each command, with what it does and the commands below it."""
    rows = [
        (f"`velatura {name}`", _does(command), ", ".join(f"`{below}`" for below in _below(command)))
        for name, command in _root().items()
    ]
    return table(("command", "what it does", "with"), rows)


def queue_commands() -> list[str]:
    """Each command of `velatura queue`."""
    rows = [(f"`velatura queue {name}`", _does(command)) for name, command in _below(_root()["queue"]).items()]
    return table(("command", "what it does"), rows)


def _root() -> Mapping[str, Any]:
    from app.cli.main import app

    return _below(typer.main.get_command(app))


def _below(command: Any) -> Mapping[str, Any]:
    """The commands of a group; none of a single command."""
    return getattr(command, "commands", {})


def _does(command: Any) -> str:
    return str(command.get_short_help_str(limit=1000)).removesuffix(".")
