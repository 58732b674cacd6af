"""The sign of life: renewed while something runs, gone afterwards, never in the way, and honest about silence."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trainers.process.heartbeat import LEAST_SILENCE, WRITTEN, Beat, beating, read_beat
from trainers.runs.events import Recorder


@pytest.fixture(autouse=True)
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.process.heartbeat.BEAT", 0.01)


def wait_for_beat(file: Path, is_so: Callable[[Beat], bool]) -> Beat:
    deadline = time.monotonic() + 120
    while True:
        beat = read_beat(file)
        if beat is not None and is_so(beat):
            return beat
        assert time.monotonic() < deadline, beat
        time.sleep(0.002)


def test_it_is_renewed_and_goes(tmp_path):
    file = tmp_path / "sign"
    with beating(file, tmp_path / "events.jsonl"):
        for _ in range(2):
            os.utime(file, (0, 0))
            deadline = time.monotonic() + 120
            while file.stat().st_mtime < 1e9:
                assert time.monotonic() < deadline
                time.sleep(0.005)
    assert not file.exists() and read_beat(file) is None


def test_a_sign_that_cannot_be_given_disturbs_nothing(tmp_path):
    with beating(tmp_path / "nowhere" / "sign", tmp_path / "events.jsonl"):
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


def test_it_says_how_long_the_run_has_said_nothing(tmp_path):
    file, record = tmp_path / "sign", Recorder(tmp_path)
    record("step", step=1)
    with beating(file, tmp_path / "events.jsonl"):
        silent = wait_for_beat(file, lambda beat: beat.at - beat.spoke > 0.1)
        record("step", step=2)
        spoke = wait_for_beat(file, lambda beat: beat.spoke > silent.at)
        time.sleep(0.02)
        record.show_life()
        wait_for_beat(file, lambda beat: beat.spoke > spoke.at)


def test_what_the_process_writes_elsewhere_is_a_sign_too(tmp_path):
    with beating(tmp_path / "sign", tmp_path / "events.jsonl"):
        silent = wait_for_beat(tmp_path / "sign", lambda beat: beat.at - beat.spoke > 0.1)
        (tmp_path / "download").write_bytes(bytes(WRITTEN))
        wait_for_beat(tmp_path / "sign", lambda beat: beat.spoke > silent.at)


def test_the_usual_step_is_that_of_the_present_phase(tmp_path):
    file, record, began = tmp_path / "sign", Recorder(tmp_path), time.monotonic()
    with beating(file, tmp_path / "events.jsonl"):
        for step in range(3):
            before = time.monotonic()
            record("step", step=step)
            noticed = wait_for_beat(file, lambda beat, before=before: beat.spoke >= before)
        assert 0 < noticed.usual <= noticed.spoke - began
        before = time.monotonic()
        record("checkpoint", step=2)
        assert wait_for_beat(file, lambda beat: beat.spoke >= before).usual == noticed.usual, "a step comes next"
        for picture in range(2):
            before = time.monotonic()
            record("drawing", picture=picture)
            drawn = wait_for_beat(file, lambda beat, before=before: beat.spoke >= before)
        assert 0 < drawn.usual != noticed.usual


def test_silence_is_counted_until_now_here_and_until_the_last_beat_elsewhere():
    now = time.monotonic()
    beat = Beat(at=now - 500, spoke=now - 700)
    assert 700 <= beat.silence(here=True) < 710 and beat.silence(here=False) == pytest.approx(200)
    assert Beat(at=now + 1e6, spoke=now + 1e6).silence(here=True) == 0  # of an earlier boot
    assert beat.patience == LEAST_SILENCE == 600 and Beat(0, 0, usual=100).patience == 2000


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"at": 1}', json.dumps({"at": "x", "spoke": 1})])
def test_a_beat_that_cannot_be_read_is_none(content, tmp_path):
    (tmp_path / "sign").write_text(content)
    assert read_beat(tmp_path / "sign") is None
