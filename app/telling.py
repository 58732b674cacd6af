"""How a command says how far it is to whoever watches the job of the queue that it is."""

from __future__ import annotations

from collections.abc import Callable

import typer

Tell = Callable[..., None]
"""Called like a Recorder: with the kind of an event and its facts."""


def teller(context: typer.Context) -> Tell:
    """Where a command tells how far it is: its job's record, or nowhere where somebody called it by hand."""
    return quiet if context.obj is None else context.obj


def quiet(kind: str, **facts: object) -> None:
    """For a command that nobody follows."""
