"""Serving the studio: what its process is made of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SERVE = """
import os, signal, sys, threading, time
from pathlib import Path
from app.cli import ui as serving

served, started = threading.Event(), []
say, start, before = serving.say, threading.Thread.start, signal.getsignal(signal.SIGINT)
serving.say = lambda *words: (say(*words), served.set() if "Ctrl-C" in str(words) else None)
threading.Thread.start = lambda thread: (started.append(thread.name), start(thread))

def end():
    served.wait()
    while signal.getsignal(signal.SIGINT) == before:  # until it listens for its end
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=end, daemon=True).start()
serving.serve(serving.Serving("127.0.0.1", None, (), (), None, (), 50, False, False), Path(sys.argv[1]))
print("dispatchers:", started.count("dispatcher"))
"""


def test_a_studio_has_one_dispatcher(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path / "outputs")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert "dispatchers: 1\n" in done.stdout, done.stderr
