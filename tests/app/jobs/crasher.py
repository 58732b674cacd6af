"""A job's process that begins its job and then crashes, as one whose libraries have a fault.

Where its folder has a file `last`, it says that first: the type of an event.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from app.jobs.processes.process import own_identity
from app.jobs.store import Store
from trainers.runs.events import Recorder

if __name__ == "__main__":
    runs, number, token = sys.argv[1:]
    job = Store(Path(runs)).begin(int(number), token, own_identity())
    if job is not None and (job.folder / "last").exists():
        record = Recorder(job.folder)
        record("attempt", number=job.attempts)
        record((job.folder / "last").read_text(encoding="utf-8"), step=3)
    os.kill(os.getpid(), signal.SIGSEGV)
