from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

from app.studio.dataset.caption_jobs import CaptionProgress
from app.ui.components import text as words
from app.ui.document.templates import ROOT
from app.ui.train import text as train_words
from app.ui.train import wall_text
from app.units import counted, day


@pytest.mark.parametrize(
    ("days", "said"),
    [(0, "today"), (1, "yesterday"), (2, "Monday"), (6, "Thursday"), (7, "18 November"), (400, "21 October")],
)
def test_days_as_people_name_them(days: int, said: str) -> None:
    now = datetime.datetime(2026, 11, 25, 12).timestamp()
    assert day(now - days * 86400, now) == said


def test_counts() -> None:
    assert counted(1, "picture") == "1 picture" and counted(0, "setting") == "0 settings"
    now = datetime.datetime(2026, 11, 25, 12).timestamp()
    assert wall_text.still_here(1, now, now) == "Your 1 picture from today is still here."
    assert wall_text.still_here(12, now - 86400, now) == "Your 12 pictures from yesterday are still here."
    assert words.too_many_wrong(0.2).endswith("in 1 second.") and words.too_many_wrong(61).endswith("in 2 minutes.")


def test_how_far_captions_are() -> None:
    said = train_words.captions_line
    assert said(CaptionProgress("done", 1, 1)).startswith("1 caption written.") and said(CaptionProgress()) == ""
    assert said(CaptionProgress("done", 5, 5)).startswith("5 captions written.")
    assert said(CaptionProgress("stopped", 2, 5)).startswith("Stopped after 2 of 5.")
    assert said(CaptionProgress("failed", 2, 5)).startswith("Writing ended after 2 of 5.")
    assert said(CaptionProgress("failed", 2, 5, "BLIP is not here.")) == "BLIP is not here."
    assert said(CaptionProgress("waiting", 0, 5, "2nd in line.")) == "It begins when the computer is free. 2nd in line."
    assert said(CaptionProgress("writing", 0, 5)) == "Starting …" and said(CaptionProgress("writing", 0, 5, "x")) == "x"


@pytest.mark.parametrize("table", sorted(ROOT.glob("*/*text.py")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_exclamation_marks_and_no_blame(table: Path) -> None:
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', table.read_text(encoding="utf-8"))
    assert len(strings) > 5
    assert not [
        one for one in strings if "!" in one or re.search(r"\b(invalid|illegal|oops|sorry|please)\b", one, re.I)
    ]
