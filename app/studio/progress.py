"""Progress reports from long tasks."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[..., None]
"""Called like a Recorder, with an event's kind and facts."""


def in_steps(report: Callable[[int, int], None], steps: int = 200) -> Callable[[int, int], None]:
    """A callback that passes on at most `steps` reports."""
    reported = 0

    def look(done: int, of: int) -> None:
        nonlocal reported
        if done - reported >= of / steps or done == of:
            reported = done
            report(done, of)

    return look


def quiet(kind: str, **facts: object) -> None:
    """Report nothing."""
