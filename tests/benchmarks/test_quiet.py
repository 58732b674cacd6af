"""What can wait waits while something is timed."""

from __future__ import annotations

import threading

from benchmarks import quiet


def test_what_can_wait_waits_until_nothing_is_timed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(quiet, "LOCK", tmp_path / "timed.lock")
    monkeypatch.setattr(quiet, "NOTICED", 0.0)
    gone_on = threading.Event()

    def wait() -> None:
        quiet.wait_until_quiet()
        gone_on.set()

    quiet.wait_until_quiet()  # nothing is timed
    waiting = threading.Thread(target=wait)
    with quiet.quiet():
        waiting.start()
        assert not gone_on.wait(0.3)
    waiting.join(10)
    assert gone_on.is_set()
