"""How a command says how far it is to whoever watches the job of the queue that it is."""

from __future__ import annotations

from collections.abc import Callable

import typer

OnProgress = Callable[..., None]
"""Called like a Recorder: with the kind of an event and its facts."""


def progress_of(context: typer.Context) -> OnProgress:
    """Where a command tells how far it is: its job's record, or nowhere where somebody called it by hand."""
    return quiet if context.obj is None else context.obj


def in_steps(report: Callable[[int, int], None], steps: int = 200) -> Callable[[int, int], None]:
    """A progress of bytes that reports only so many times, at most."""
    reported = 0

    def look(done: int, of: int) -> None:
        nonlocal reported
        if done - reported >= of / steps or done == of:
            reported = done
            report(done, of)

    return look


def quiet(kind: str, **facts: object) -> None:
    """For a command that nobody follows."""
