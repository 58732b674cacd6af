"""`velatura check`: findings in words, and an exit code."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from app.cli.dataset import show_findings
from app.cli.styles import show_style
from tests.app.command import call
from tests.app.user_files import write_pictures
from tests.trainers.captioning.captioners import write_tagger
from trainers.errors import VelaturaError


def test_what_is_not_there_is_said_before_torch_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("trainers.config.layers", "trainers.formats.inspect"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    with pytest.raises(VelaturaError, match="there is no such folder"):
        show_findings(tmp_path / "none", None, [], False)
    with pytest.raises(VelaturaError, match="there is no style file"):
        show_style(tmp_path / "none.safetensors", False, False)


def test_captions_are_written_past_files_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tagger(tmp_path / "models" / "wd-vit-tagger-v3")
    monkeypatch.setenv("VELATURA_MODELS", str(tmp_path / "models"))
    folder = write_pictures(tmp_path / "images", "a.png", "b.png", "c.png")
    (folder / "a.txt").write_bytes(b"\0 what somebody keeps here")
    (folder / "b.png").write_text("no image", encoding="utf-8")
    outcome = call("caption", folder, "--model", "wd14", "--json")
    assert outcome.code == 1 and list(json.loads(outcome.out)) == ["c.png"]
    assert "a.png has a caption a.txt that is not text: save it as UTF-8; it was left out" in outcome.err
    assert "b.png holds text, not an image; it was left out" in outcome.err
    assert (folder / "a.txt").read_bytes() == b"\0 what somebody keeps here" and (folder / "c.txt").is_file()


def test_check_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "images", "fox [red].png", "dog.png")
    (folder / "dog.txt").write_text("a dog " * 60, encoding="utf-8")
    (folder / "notes.png").write_text("no image", encoding="utf-8")
    outcome = call("check", folder)
    assert outcome.code == 0
    assert re.search(r"^! notes.png holds text, not an image\.$", outcome.out, re.MULTILINE)
    assert re.search(
        r"^! The caption of dog.png is truncated at 75 tokens \(the longest has 120\)\.$", outcome.out, re.M
    )
    assert "fox [red].png" not in outcome.out  # nothing is wrong with it
    word = ("--set", "tokens.word=<dusk>", "--set", "tokens.vectors=70")
    assert "caption of dog.png is truncated at 75 tokens (the longest has 191)" in call("check", folder, *word).out
    (folder / "fox [red].png").write_text("no image either", encoding="utf-8")
    assert "fox [red].png holds text" in call("check", folder).out


def test_check_fails_where_training_would(tmp_path: Path) -> None:
    outcome = call("check", tmp_path, "--json")
    assert outcome.code == 1
    assert [finding["level"] for finding in json.loads(outcome.out)] == ["error"]
