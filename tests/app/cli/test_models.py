"""`velatura models`: what is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.app.command import call


def test_models(tiny_bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELATURA_MODELS", str(tiny_bases["sdxl"].parent))
    rows = {row["name"]: row for row in json.loads(call("models", "--json").out)}
    assert next(iter(rows)) == "starter"
    assert rows["starter"]["family"] == "sd1"
    assert rows[str(tiny_bases["sdxl"])] == {
        "name": str(tiny_bases["sdxl"]),
        "family": "sdxl",
        "kind": "folder",
        "path": str(tiny_bases["sdxl"]),
    }
