"""The catalogues of the studio's texts: complete, without what nothing says, and with the same placeholders."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from app.language import ENGLISH, LANGUAGES
from tools import messages

OTHERS = [name for name in LANGUAGES if name != ENGLISH]


@pytest.fixture(scope="module")
def collected() -> Catalog:
    return messages.collect()


@pytest.mark.parametrize("language", OTHERS)
def test_every_catalogue_is_complete(language: str, collected: Catalog) -> None:
    assert messages.find_problems(language, collected) == []


def test_messages_are_found_wherever_they_are_said(collected: Catalog) -> None:
    found = {messages.key_of(entry): entry for entry in collected if entry.id}
    assert len(found) > 1_000
    assert found["Add pictures in your style"].locations[0][0] == "app/ui/train/text.py"  # a constant
    assert found["{count} picture"].id == ("{count} picture", "{count} pictures")  # a plural
    assert any(place == "trainers/composition/merge.py" for entry in found.values() for place, _ in entry.locations)
    assert {"docs/settings.md", "docs/methods.md"} <= {place for each in found.values() for place, _ in each.locations}


def test_what_is_wrong_with_a_catalogue_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LOCALE", tmp_path)
    wanted = Catalog()
    for text in (
        "right",
        "new",
        "empty",
        "{name} is {what}",
        ("{count} step", "{count} steps"),
        ("{count} a", "{count} b"),
    ):
        wanted.add(text)
    known = Catalog(locale="de")
    known.add("right", "richtig")
    known.add("old", "alt")
    known.add("empty", "")
    known.add("{name} is {what}", "{name} ist {was}")
    known.add(("{count} step", "{count} steps"), ("ein Schritt", "{count} Schritte"))
    known.add(("{count} a", "{count} b"), ("ein a", "viele b"))
    messages.write("de", known)
    assert messages.find_problems("de", wanted) == [
        "missing: 'new'",
        "placeholders ['count'] and []: '{count} a'",
        "placeholders ['name', 'what'] and ['name', 'was']: '{name} is {what}'",
        "stale: 'old'",
        "untranslated: 'empty'",
    ]


def test_an_update_keeps_translations_and_drops_what_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LOCALE", tmp_path)
    wanted = Catalog()
    wanted.add("right", None, [("app/b.py", 7)])
    wanted.add("new", None, [("app/a.py", 3)])
    known = Catalog(locale="de")
    known.add("right", "richtig")
    known.add("old", "alt")
    messages.write("de", known)
    messages.update("de", wanted)
    text = messages.path_of("de").read_text(encoding="utf-8")
    assert 'msgid "right"\nmsgstr "richtig"' in text and "old" not in text and ":7" not in text
    assert text.index('"new"') < text.index('"right"'), "in the order of the files"
    before = text
    messages.update("de", wanted)
    assert messages.path_of("de").read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("template", "names"),
    [("{a} of {b:.2f}", {"a", "b"}), ("{} and {}", {"0", "1"}), ("{{literal}} {x!r}", {"x"}), ("none", set())],
)
def test_placeholders(template: str, names: set[str]) -> None:
    assert messages.placeholders(template) == names
