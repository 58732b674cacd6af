"""Every setting has a meaning."""

from __future__ import annotations

from trainers.config.reference import list_settings


def test_every_setting_says_what_it_does():
    settings = list(list_settings())
    assert len(settings) > 60
    assert [s.key for s in settings if len(s.meaning) < 10] == []
    assert next(s for s in settings if s.key == "method.rank" and s.method == "lokr").meaning
