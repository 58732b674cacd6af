"""Translatable sentences: a template in English and its parameters.

A `Message` is the English sentence, so programs, logs and the command line use it as any other `str`. For another
language, its template is looked up in a catalogue and filled with the parameters, which may be messages themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Self, SupportsIndex, cast

PLAIN = re.compile(r"(?:[^{}]|\{\{|\}\}|\{\w*(?:![rs])?(?::,?\d{0,2}(?:\.\d{1,3})?[a-z%]?)?\})*")
"""Templates with names and numbers of few digits in their braces."""
COUNT = "count"
"""The parameter that decides between singular and plural."""
DEEPEST, MOST_PARAMETERS, LONGEST = 8, 100, 20_000
"""Limits of a recorded message: levels of messages, parameters of each, and characters of its parts."""


class Message(str):
    """A sentence with its template and the parameters of `str.format`; imported as `_` where many are written.

    Braces in templates without parameters are plain text.
    """

    __slots__ = ("named", "placed", "plural", "template")

    template: str
    plural: str
    """The template for counts other than one; "" without."""
    placed: tuple[object, ...]
    """Parameters by place."""
    named: Mapping[str, object]
    """Parameters by name."""

    def __new__(cls, template: str, /, *placed: object, **named: object) -> Self:
        """The sentence of a template."""
        return cls._made(template, "", placed, named)

    @classmethod
    def _made(cls, template: str, plural: str, placed: tuple[object, ...], named: Mapping[str, object]) -> Self:
        chosen = plural if plural and named.get(COUNT) != 1 else template
        message = super().__new__(cls, cls.finish(chosen.format(*placed, **named) if placed or named else chosen))
        message.template, message.plural, message.placed, message.named = template, plural, placed, named
        return message

    @staticmethod
    def finish(sentence: str) -> str:
        """Change a sentence in any language after its parameters are filled in."""
        return sentence

    @classmethod
    def of(cls, message: str) -> Self:
        """Convert another message, or plain text, to this class."""
        if not isinstance(message, Message):
            return cls._made(message, "", (), {})
        if type(message) not in (Message, cls):  # which finishes in its own way
            return cls._made("{}", "", (message,), {})
        return cls._made(message.template, message.plural, message.placed, message.named)

    def format(self, *placed: object, **named: object) -> Self:
        """The same template with other parameters."""
        return self._made(self.template, self.plural, placed, named)

    def changed(self, change: Callable[[str], str]) -> Self:
        """The same message with `change` applied to plain text in its parameters, such as names and paths."""

        def new(value: object) -> object:
            if isinstance(value, Message):
                return value.changed(change)
            return change(str(value)) if isinstance(value, str | PurePath | Exception) else value

        named = {name: new(value) for name, value in self.named.items()}
        return self._made(self.template, self.plural, tuple(map(new, self.placed)), named)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Keep all attributes in copies and pickles."""
        return (type(self)._made, (self.template, self.plural, self.placed, dict(self.named)))


def plural(one: str, other: str, count: int, **named: object) -> Message:
    """A sentence whose template depends on `{count}`: `one` for one, `other` for all other counts."""
    return Message._made(one, other, (), {COUNT: count, **named})


def joined(separator: str, parts: Iterable[object]) -> Message:
    """Join messages into one that stays translatable; empty parts are left out."""
    present = tuple(part for part in parts if part != "")
    return Message._made(separator.replace("{", "{{").replace("}", "}}").join("{}" for _ in present), "", present, {})


def listed(parts: Sequence[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return _enumerated(parts, Message("{before} and {last}"))


def either(parts: Sequence[object]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return _enumerated(parts, Message("{before} or {last}"))


def _enumerated(parts: Sequence[object], ending: Message) -> str:
    if len(parts) < 2:
        return joined("", parts)
    return ending.format(before=joined(", ", parts[:-1]), last=parts[-1])


def to_record(message: str) -> object:
    """A sentence for JSON: a plain `str` unchanged, a message as its template and parameters."""
    if not isinstance(message, Message):
        return message
    record: dict[str, object] = {"template": message.template}
    if message.plural:
        record["plural"] = message.plural
    if message.placed:
        record["placed"] = [_parameter(value) for value in message.placed]
    if message.named:
        record["named"] = {name: _parameter(value) for name, value in message.named.items()}
    return record


def _parameter(value: object) -> object:
    if isinstance(value, str):
        return to_record(value)
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_number else str(value)  # JSON has no NaN


def from_record(record: object, deepest: int = DEEPEST) -> str:
    """The sentence of a record; ValueError if it is invalid, or could be very long.

    Records come from untrusted files: `str.format` reaches attributes of its arguments, and thirty nested messages that
    repeat a parameter fill gigabytes.
    """
    if isinstance(record, str):
        return record
    try:
        fields = cast("dict[str, Any]", record)
        template, other = str(fields["template"]), str(fields.get("plural", ""))
        by_place, by_name = list(fields.get("placed", ())), dict(fields.get("named", {}))
        if not deepest or len(by_place) + len(by_name) > MOST_PARAMETERS:
            raise ValueError("too many messages or parameters")
        placed = tuple(_value(value, deepest - 1) for value in by_place)
        named = {str(name): _value(value, deepest - 1) for name, value in by_name.items()}
        lengths = [len(str(value)) for value in (*placed, *named.values())]
        repeats = max(text.count("{") for text in (template, other))
        if len(template) + len(other) + max(sum(lengths), repeats * max(lengths, default=0)) > LONGEST:
            raise ValueError("too long")
        if (placed or named) and not (PLAIN.fullmatch(template) and PLAIN.fullmatch(other)):
            raise ValueError("not a plain template")
        return Message._made(template, other, placed, named)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError("not a message") from error


def some(names: Sequence[str]) -> str:
    """The first three names, and the number of the others."""
    if len(names) <= 3:
        return listed(names)
    return Message("{names} and {count} more", names=joined(", ", names[:3]), count=len(names) - 3)


def recorded(record: object, otherwise: str, kind: type[Message] = Message) -> Message:
    """The message of a record stored beside the text `otherwise`; `kind` is its class.

    Returns the text itself without a record, as in files of older versions, or if the record gives another text.
    """
    try:
        message = kind.of(from_record(record))
    except (ValueError, RecursionError):
        return Message.of(otherwise)
    return message if message == otherwise else Message.of(otherwise)


def _value(value: object, deepest: int) -> object:
    return value if isinstance(value, (int, float)) else from_record(value, deepest)
