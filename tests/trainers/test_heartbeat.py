"""The sign of life: renewed while something runs, gone afterwards, and never in the way."""

from __future__ import annotations

import os
import time

from trainers.heartbeat import beating


def test_it_is_renewed_and_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("trainers.heartbeat.BEAT", 0.01)
    file = tmp_path / "sign"
    with beating(file):
        for _ in range(2):
            file.touch()
            os.utime(file, (0, 0))
            deadline = time.monotonic() + 30
            while file.stat().st_mtime < 1e9:
                assert time.monotonic() < deadline
                time.sleep(0.005)
    assert not file.exists()


def test_a_sign_that_cannot_be_given_disturbs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("trainers.heartbeat.BEAT", 0.01)
    with beating(tmp_path / "nowhere" / "sign"):
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []
