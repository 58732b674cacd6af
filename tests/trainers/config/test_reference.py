"""The page of settings is what the config says, and says something of every setting."""

from __future__ import annotations

from pathlib import Path

from trainers.config.reference import list_settings, write_reference

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == write_reference(), (
        "run: python -m trainers.config.reference > docs/settings.md"
    )


def test_every_setting_says_what_it_does():
    settings = list(list_settings())
    assert len(settings) > 60
    assert [s.key for s in settings if len(s.meaning) < 10] == []
    assert next(s for s in settings if s.key == "method.rank" and s.method == "lokr").meaning
