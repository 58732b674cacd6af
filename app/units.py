"""Numbers, sizes and times as readable text."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from app.language import Date, Number
from trainers.messages import Message, plural
from trainers.messages import Message as _

SIZES = (_("{number} bytes"), _("{number} kB"), _("{number} MB"))
GIGABYTES = _("{number} GB")


def forms(one: str, other: str) -> tuple[str, str]:
    """The singular and the plural of something that is counted."""
    return one, other


THINGS: Mapping[str, tuple[str, str]] = {
    "account": forms("{count} account", "{count} accounts"),
    "caption": forms("{count} caption", "{count} captions"),
    "day": forms("{count} day", "{count} days"),
    "image": forms("{count} image", "{count} images"),
    "item": forms("{count} item", "{count} items"),
    "job": forms("{count} job", "{count} jobs"),
    "minute": forms("{count} minute", "{count} minutes"),
    "picture": forms("{count} picture", "{count} pictures"),
    "run": forms("{count} run", "{count} runs"),
    "second": forms("{count} second", "{count} seconds"),
    "setting": forms("{count} setting", "{count} settings"),
    "step": forms("{count} step", "{count} steps"),
    "time": forms("{count} time", "{count} times"),
}


def readable_size(count: int) -> Message:
    """Bytes as readable text, in units of 1000 as in file managers."""
    value = float(count)
    for unit in SIZES:
        if value < 1000:
            return unit.format(number=number(f"{value:.{0 if unit is SIZES[0] else 1}f}"))
        value /= 1000
    return GIGABYTES.format(number=number(f"{value:.1f}"))


def readable_time(seconds: float) -> Message:
    """Seconds as readable text, in half minutes up to five, so that a choice between two shows what it costs."""
    if seconds < 90:
        return _("{number} s", number=number(f"{seconds:.0f}"))
    if seconds < 5 * 60:
        return _("{number} min", number=number(f"{round(seconds / 30) / 2:g}"))
    if seconds < 90 * 60:
        return _("{number} min", number=number(f"{seconds / 60:.0f}"))
    return _("{number} h", number=number(f"{seconds / 3600:.1f}"))


def readable_speed(steps_per_second: float) -> Message:
    """Seconds per step: always the same unit, so that runs can be compared and no number jumps to its inverse."""
    if not steps_per_second:
        return _("–")
    seconds = 1 / steps_per_second
    places = 0 if seconds >= 99.5 else 1 if seconds >= 9.95 else 2 if seconds >= 0.0995 else 3
    return _("{number} s/step", number=number(f"{seconds:.{places}f}"))


def percent(share: float) -> Message:
    """A share between 0 and 1."""
    rounded = f"{100 * share:.0f}"
    return _("{number}%", number=rounded)


def number(text: str) -> Number:
    """A number, whose decimal point is written as the reader's language does."""
    return Number.of(text)


def day(then: float, now: float) -> Message:
    """A past time (seconds since the epoch) as a day: today, yesterday, Tuesday, 3 November."""
    was, today = (datetime.datetime.fromtimestamp(moment).date() for moment in (then, now))
    days = (today - was).days
    if days <= 0:
        return _("today")
    if days == 1:
        return _("yesterday")
    return Date(Date.WEEKDAY, was) if days < 7 else Date(Date.DAY, was)


def counted(number: int, thing: str) -> Message:
    """`1 picture`, `12 pictures`; KeyError for a thing that is not in THINGS."""
    return plural(*THINGS[thing], number)


def ordinal(number: int) -> Message:
    """1st, 2nd, 3rd, 4th …"""
    endings = {1: _("{number}st"), 2: _("{number}nd"), 3: _("{number}rd")}
    ending = endings.get(number % 10) if number % 100 not in (11, 12, 13) else None
    return (ending or _("{number}th")).format(number=number)
