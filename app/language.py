"""The languages of the studio: what is said in English in the code, in the language of whoever asks.

Messages are looked up by their English template in `locale/LANGUAGE/LC_MESSAGES/messages.po`, and only where they are
shown: in templates, in what a page's handlers return, in answers of middlewares.
"""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Any, cast

from trainers.messages import COUNT, Message

ENGLISH = "en"
LANGUAGES: Mapping[str, str] = {ENGLISH: "English", "de": "Deutsch"}
"""Each as its speakers call it."""
LOCALE = Path(__file__).parent / "locale"
CATALOGUE = "LC_MESSAGES/messages.po"
NAME_FIRST = re.compile(r"\w+\.\w")
"""Start of a sentence whose first word is a setting's key or a file name, which keep their case."""
WISH = re.compile(r"\s*([a-zA-Z]{1,8})(?:-[a-zA-Z0-9-]+)?\s*(?:;\s*q=([0-9.]+))?\s*")
"""One entry of an Accept-Language header."""

_spoken: ContextVar[str] = ContextVar("language", default=ENGLISH)


class Sentence(Message):
    """A message that is shown as a full sentence: capitalised, unless it starts with a name, and with a full stop."""

    __slots__ = ()

    @staticmethod
    def finish(said: str) -> str:
        """The capital letter and the full stop."""
        is_name = NAME_FIRST.match(said) is not None
        ending = "" if said.endswith((".", "?", "!")) else "."
        return (said if is_name else f"{said[:1].upper()}{said[1:]}") + ending


class OneLine(Message):
    """A message on one line, whatever its parameters hold."""

    __slots__ = ()

    @staticmethod
    def finish(said: str) -> str:
        """Spaces instead of line breaks."""
        return " ".join(said.splitlines())


class Formatted(Message):
    """A message that is formatted, not looked up."""

    __slots__ = ()

    def localised(self, name: str) -> str:
        """It in a language: a key of LANGUAGES."""
        raise NotImplementedError


class Number(Formatted):
    """A number as text, whose decimal point and thousands separators other languages write otherwise."""

    __slots__ = ()

    def localised(self, name: str) -> str:
        """The number with the symbols of that language."""
        from babel.numbers import get_decimal_symbol, get_group_symbol

        return self.translate({ord("."): get_decimal_symbol(name), ord(","): get_group_symbol(name)})


class Date(Formatted):
    """A `datetime.date` as text."""

    __slots__ = ()

    WEEKDAY, DAY, DATE = "{0:%A}", "{0.day} {0:%B}", "{0.day} {0:%B} {0.year}"

    def localised(self, name: str) -> str:
        """The date with the names and the order of that language."""
        from babel.dates import format_date, format_skeleton

        date = cast("datetime.date", self.placed[0])
        if self.template == self.WEEKDAY:
            return format_date(date, "EEEE", locale=name)
        return format_skeleton("yMMMMd" if self.template == self.DATE else "MMMMd", date, locale=name)


def language() -> str:
    """The language of this request: a key of LANGUAGES."""
    return _spoken.get()


def direction() -> str:
    """The direction in which this request's language is written: ltr or rtl."""
    if language() == ENGLISH:
        return "ltr"
    from babel import Locale

    return Locale.parse(language()).text_direction


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """Use a language for what is done within, in this task and the threads that it starts."""
    token = _spoken.set(name if name in LANGUAGES else ENGLISH)
    try:
        yield
    finally:
        _spoken.reset(token)


def preferred(chosen: str, accepted: str) -> str:
    """The language of a browser: `chosen` if we speak it, else the first of its Accept-Language header that we do."""
    if chosen in LANGUAGES:
        return chosen
    found = [WISH.fullmatch(part) for part in accepted[:500].split(",")]
    wishes = [(_weight(each[2]), each[1].lower()) for each in found if each]
    known = [wish for wish in wishes if wish[0] > 0 and wish[1] in LANGUAGES]
    return max(known, key=lambda wish: wish[0])[1] if known else ENGLISH


def _weight(text: str | None) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        return 0.0


def translate(text: str) -> str:
    """A message in the language of this request; any other text as it is."""
    if not isinstance(text, Message) or language() == ENGLISH:
        return text
    return text.localised(language()) if isinstance(text, Formatted) else text.finish(_say(text))


def translated(value: Any) -> Any:
    """The same value with every message in it translated: in tables, lists and tuples, however deep."""
    if isinstance(value, str):
        return translate(value)
    if isinstance(value, dict):
        return {key: translated(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(translated, value)) if type(value) in (list, tuple) else value
    return value


def _say(message: Message) -> str:
    found = catalogue(language())
    count = message.named.get(COUNT)
    if message.plural and isinstance(count, int):
        template = found.ngettext(message.template, message.plural, count)
    else:
        template = found.gettext(message.template) if message.template else ""
    if not message.placed and not message.named:
        return template
    return template.format(*map(_parameter, message.placed), **{k: _parameter(v) for k, v in message.named.items()})


def _parameter(value: object) -> object:
    if type(value) is float:
        return _Share(value)
    return _Count(value) if type(value) is int else translated(value)


class _Count(int):
    """A parameter that a template may ask for with thousands separators."""

    def __format__(self, form: str) -> str:
        said = super().__format__(form)
        return Number.of(said).localised(language()) if "," in form else said


class _Share(float):
    """A parameter that a template may ask for in per cent."""

    def __format__(self, form: str) -> str:
        said = super().__format__(form)
        if not form.endswith("%"):
            return said
        from babel import Locale

        return f"{said[:-1]}{Locale.parse(language()).percent_formats[None].suffix[0]}"


@cache
def catalogue(name: str) -> NullTranslations:
    """The translations into a language; those into English, the code's own, are empty."""
    if name == ENGLISH:
        return NullTranslations()
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with (LOCALE / name / CATALOGUE).open("rb") as file:
        entries = read_po(file, locale=name)
    compiled = io.BytesIO()
    write_mo(compiled, entries)
    compiled.seek(0)
    return GNUTranslations(compiled)
