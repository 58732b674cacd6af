"""Serving the studio: what its process is made of."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.app.ui.server import Process
from tests.waiting import wait_until

SAY_WHAT_BEGINS = """
import signal, threading
def begin(thread, at_once=threading.Thread.start):
    print("thread:", thread.name, flush=True)
    at_once(thread)
def handle(number, handler, at_once=signal.signal):
    before = at_once(number, handler)
    print("handled:", int(number), flush=True)
    return before
threading.Thread.start, signal.signal = begin, handle
"""


def test_a_studio_whose_terminal_is_closed_stops_in_order(tmp_path: Path) -> None:
    hung_up = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # the tests may run under nohup
    studio = Process(tmp_path / "outputs", before=hung_up + SAY_WHAT_BEGINS)
    wait_until(lambda: "handled: 1\n" in studio.said(), studio.said)
    os.kill(studio.pid, signal.SIGHUP)
    wait_until(lambda: not studio.is_running(), studio.said)
    assert "\nstopped\n" in studio.said() and "Traceback" not in studio.said()


def test_a_studio_has_one_dispatcher(tmp_path: Path) -> None:
    studio = Process(tmp_path / "outputs", before=SAY_WHAT_BEGINS)
    wait_until(lambda: "handled: 15\n" in studio.said(), studio.said)  # until it listens for its end
    studio.stop()
    assert studio.said().count("thread: dispatcher\n") == 1
