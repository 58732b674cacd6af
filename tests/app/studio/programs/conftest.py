"""Programs made of empty folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.studio.programs import find


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home folder, in which nothing runs."""
    home = tmp_path / "home"
    (home / "here" / "inside").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(home / "here" / "inside")
    for program in find.PROGRAMS.values():
        for variable in program.variables:
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(find, "running_from", list)
    yield home
