"""How work says how far it is to whoever follows it."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[..., None]
"""Called like a Recorder: with the kind of an event and its facts."""


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
    """For work that nobody follows."""
