"""Languages: which one a browser gets, and messages said in it."""

from __future__ import annotations

import datetime
import re
from gettext import NullTranslations

import pytest

from app import language
from app.language import Date, Number, OneLine, Sentence, preferred, speaking, translate, translated
from app.units import counted, day, readable_size, readable_speed, readable_time
from trainers.messages import Message, joined, plural


class Loud(NullTranslations):
    """A language in which everything is said in capitals, but for placeholders."""

    def gettext(self, message: str) -> str:
        return re.sub(r"(?<![{.])(step|run)", lambda found: found[0].upper(), message)

    def ngettext(self, one: str, other: str, count: int) -> str:
        return self.gettext(one if count == 1 else other)


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "catalogue", lambda _: Loud())


@pytest.mark.parametrize(
    ("chosen", "accepted", "expected"),
    [
        ("", "", "en"),
        ("de", "en", "de"),
        ("en", "de", "en"),
        ("fr", "de", "de"),
        ("../../etc", "de-AT,de;q=0.9", "de"),
        ("", "de-DE,de;q=0.9,en;q=0.8", "de"),
        ("", "fr, en;q=0.5, de;q=0.4", "en"),
        ("", "en;q=0.2, de;q=0.9", "de"),
        ("", "de;q=0, fr", "en"),
        ("", "*", "en"),
        ("", "de;q=nonsense", "en"),
        ("", ";;;,,,q=", "en"),
    ],
)
def test_a_browser_gets_what_was_chosen_else_what_it_accepts(chosen: str, accepted: str, expected: str) -> None:
    assert preferred(chosen, accepted) == expected


def test_english_is_what_stands_in_the_code() -> None:
    assert translate(Message("a run")) == "a run" and language.language() == "en"
    with speaking("xx"):
        assert language.language() == "en" and language.direction() == "ltr"


def test_messages_are_said_in_the_language_of_the_request(loud: None) -> None:
    said = Message("{name}: {steps}", name="step", steps=plural("{count} step", "{count} steps", 3))
    with speaking("de"):
        assert translate(said) == "step: 3 STEPs"  # a name is no message
        assert translate(joined(" · ", [Message("run"), "run"])) == "RUN · run"
        assert translate(Sentence.of(Message("the run {name} ended", name="x"))) == "The RUN x ended."
        assert translate(Sentence.of(Message("train.steps is wrong?"))) == "train.steps is wrong?"
        assert translated({"run": [Message("run"), (Message("step"), 3)]}) == {"run": ["RUN", ("STEP", 3)]}
    assert translate(said) == "step: 3 steps"


def test_a_line_stays_one_in_every_language(loud: None) -> None:
    said = OneLine.of(Message("a run, {cause}", cause="one\ntwo"))
    with speaking("de"):
        assert (said, translate(said)) == ("a run, one two", "a RUN, one two")
        assert translate(OneLine.of(Sentence.of(said))) == "A RUN, one two."


def test_numbers_and_dates_are_written_as_in_the_language() -> None:
    now = datetime.datetime(2026, 11, 25, 12).timestamp()
    with speaking("de"):
        assert translate(readable_size(1_400_000)) == "1,4 MB"
        assert translate(Number.of("0.25")) == "0,25" and translate(Number.of("12,345.6")) == "12.345,6"
        assert translate(Message("{count:,} of {most:,}; {rate:g}", count=1200, most=5, rate=0.5)) == "1.200 of 5; 0.5"
        assert translate(Date(Date.WEEKDAY, datetime.date(2026, 11, 24))) == "Dienstag"
        assert translate(day(now - 20 * 86400, now)) == "5. November"
    assert readable_size(1_400_000) == "1.4 MB" and day(now - 20 * 86400, now) == "5 November"
    assert readable_time(5400) == "1.5 h" and readable_speed(0.5) == "2.00 s/step" and counted(1, "day") == "1 day"
