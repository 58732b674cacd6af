"""`velatura methods` and `velatura presets`: all of them, legible in any width."""

from __future__ import annotations

import json

import pytest

from tests.app.command import call
from trainers.adapters.methods import METHODS
from trainers.config.techniques import TECHNIQUES, list_techniques


def test_methods() -> None:
    rows = json.loads(call("methods", "--json").out)
    keys = ["name", "paper", "parameters", "places", "summary", "setting", "method"]
    assert [list(row) for row in rows] == [keys] * (len(METHODS) + len(TECHNIQUES))
    for row, (name, kind) in zip(rows, METHODS.items(), strict=False):
        about = kind.about
        values = (name, about.paper, about.parameters, list(kind.places), about.summary, f"method.name={name}", "")
        assert row == dict(zip(keys, values, strict=True))
    assert [row["name"] for row in rows[len(METHODS) :]] == [one.name for one in TECHNIQUES]


def test_presets() -> None:
    rows = json.loads(call("presets", "--json").out)
    names = [row["name"] for row in rows]
    assert {one.name for one in list_techniques()} <= set(names)
    assert all(row["method"] == row["name"] for row in rows if row["name"] in METHODS)
    named = {*METHODS, "textual-inversion"}
    assert all(named.issuperset(row["method"].split("+")) and row["summary"] for row in rows)
    assert "--preset recommended takes the settings that others published" in " ".join(call("presets").err.split())
    methods = {row["name"]: row["method"] for row in rows}
    assert methods["textual-inversion"] == "textual-inversion" and methods["pivotal"] == "lora+textual-inversion"


@pytest.mark.parametrize("listing", ["methods", "presets"])
def test_a_listing_shows_every_word_at_80_columns(listing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = call(listing).out
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table
    shown = set(table.replace("│", " ").split())
    assert ("┃" in table) == (listing == "presets")
    for row in json.loads(call(listing, "--json").out):
        row.pop("setting", None)  # for programs, as is the method whose setting it is
        words = " ".join(value if isinstance(value, str) else ", ".join(value) for value in row.values()).split()
        assert set(words) <= shown, row


def test_there_is_a_table_of_methods_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    table = call("methods").out
    assert "┃ parameters per layer" in table and len(table.splitlines()) < 60
