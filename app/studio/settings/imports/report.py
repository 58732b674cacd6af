"""What becomes of another program's settings: rules by name, and a report of what was taken and what was not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from app.studio.settings.fields import find_field
from app.studio.settings.plan import UNNAMED, nested
from trainers.config.build import find_problems
from trainers.messages import Message

Reason = Literal["path", "elsewhere", "epochs", "family", "value", "method", "refused", "unknown"]
"""Why a setting was not taken: it is a path of another computer, set in another step, epochs, follows from the base,
has a value that does not exist here, is unknown to the method, is refused with the others, or has no counterpart."""
MOST_LETTERS = 120


class NotHereError(ValueError):
    """A value has no counterpart here."""


UNREADABLE = (ValueError, TypeError, OverflowError)
"""What reading a value may raise: NotHereError is one of them."""


@dataclass(frozen=True)
class Taken:
    """A setting that was taken."""

    name: str
    """In the other program."""
    value: str
    key: str
    """Here."""
    became: str


@dataclass(frozen=True)
class Left:
    """A setting that was not taken."""

    name: str
    value: str
    reason: Reason
    said: str = ""
    """The sentence with which it was refused."""


@dataclass(frozen=True)
class Imported:
    """Another program's settings as a table of ours."""

    program: str
    table: Mapping[str, Any]
    taken: tuple[Taken, ...]
    left: tuple[Left, ...]


@dataclass(frozen=True)
class Rule:
    """What a setting is called here, and what becomes of its value. Both may raise NotHereError or ValueError."""

    key: str
    read: Callable[[Any], Any]


@dataclass
class Reading:
    """A file while it is read: rules are applied one after the other, later ones win."""

    program: str
    found: Mapping[str, Any]
    """The other program's settings, by name."""
    settings: dict[str, Any] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def take(self, name: str, key: str, value: Any, was: Any = None) -> None:
        """Take a setting; `was` is its value there if it is not the file's."""
        self.settings[key] = value
        there = self.found.get(name, "") if was is None else was
        self.taken.append(Taken(name, shown(there), key, shown(value)))

    def leave(self, name: str, reason: Reason) -> None:
        """Leave a setting out, unless it is not set there either."""
        value = self.found.get(name)
        if value not in (None, "", False, 0, [], {}, "0", "None", "none"):
            self.left.append(Left(name, shown(value), reason))

    def apply(self, rules: Mapping[str, Rule]) -> None:
        """Take what the rules know; what is empty counts as not set."""
        for name, rule in rules.items():
            value = self.found.get(name)
            if value is None or value == "":
                continue
            try:
                self.take(name, rule.key, rule.read(value))
            except UNREADABLE:
                self.leave(name, "value")

    def leave_rest(self, known: Mapping[str, Reason]) -> None:
        """Leave out all that no rule has taken, for a known reason or for none."""
        seen = {one.name for one in self.taken} | {one.name for one in self.left}
        for name in self.found:
            if name not in seen:
                self.leave(name, known.get(name, "unknown"))

    def finish(self) -> Imported:
        """The report; what the config refuses is left out."""
        method = str(self.settings.get("method.name", "lora"))
        for key in [key for key in self.settings if find_field(key, method) is None and key != "method.name"]:
            self._drop(key, "method")
        for _ in range(len(self.settings)):
            problems = find_problems({"name": UNNAMED}, nested(self.settings))
            wrong = [key for key in problems if key in self.settings]
            if not wrong:
                break
            for key in wrong:
                self._drop(key, "refused", problems[key])
        return Imported(self.program, nested(self.settings), tuple(self.taken), tuple(self.left))

    def _drop(self, key: str, reason: Reason, said: str = "") -> None:
        del self.settings[key]
        self.left += [Left(one.name, one.value, reason, said) for one in self.taken if one.key == key]
        self.taken = [one for one in self.taken if one.key != key]


def shown(value: Any) -> str:
    """A value as a short text."""
    if isinstance(value, Message):
        return value
    if isinstance(value, bool):
        return Message("on") if value else Message("off")
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)[:MOST_LETTERS]


def whole(value: Any) -> int:
    """A whole number above 0; 0 is how both programs say that something is not set."""
    number = int(float(value))
    if isinstance(value, bool) or number <= 0:
        raise NotHereError
    return number


def number(value: Any) -> float:
    """A number from 0."""
    if isinstance(value, bool) or not float(value) >= 0:
        raise NotHereError
    return float(value)


def above(value: Any) -> float:
    """A number above 0."""
    if not number(value):
        raise NotHereError
    return float(value)


def switch(value: Any) -> bool:
    """On or off."""
    if value in (True, 1, "true", "True", "on", "ON"):
        return True
    if value in (False, 0, "false", "False", "off", "OFF"):
        return False
    raise NotHereError


def one_of(names: Mapping[str, Any]) -> Callable[[Any], Any]:
    """One of some words, in any case."""

    def read(value: Any) -> Any:
        word = str(value).strip().lower()
        if word not in names:
            raise NotHereError
        return names[word]

    return read


def square(value: Any) -> int:
    """The side of a square such as `512,512`; other shapes have no counterpart."""
    sides = {whole(part) for part in str(value).strip("[]() ").replace("x", ",").split(",") if part.strip()}
    if len(sides) != 1:
        raise NotHereError
    return sides.pop()
