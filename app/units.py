"""Numbers, sizes and times as readable text."""

from __future__ import annotations

import datetime


def readable_size(count: int) -> str:
    """Bytes as readable text, in units of 1000 as in file managers."""
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def readable_time(seconds: float) -> str:
    """Seconds as readable text."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def readable_speed(steps_per_second: float) -> str:
    """Seconds per step: always the same unit, so that runs can be compared and no number jumps to its inverse."""
    if not steps_per_second:
        return "–"
    seconds = 1 / steps_per_second
    return f"{seconds:.{0 if seconds >= 99.5 else 1 if seconds >= 9.95 else 2 if seconds >= 0.0995 else 3}f} s/step"


def day(then: float, now: float) -> str:
    """A past time (seconds since the epoch) as a day: earlier today, yesterday, Tuesday, 3 November."""
    was, today = (datetime.datetime.fromtimestamp(moment).date() for moment in (then, now))
    days = (today - was).days
    if days <= 0:
        return "earlier today"
    if days == 1:
        return "yesterday"
    return f"{was:%A}" if days < 7 else f"{was.day} {was:%B}"


def counted(number: int, thing: str) -> str:
    """`1 picture`, `12 pictures`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th …"""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"
