"""A job's process that begins its job and then crashes, as one whose libraries have a fault."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from app.jobs.process import own_identity
from app.jobs.store import Store

if __name__ == "__main__":
    runs, number, token = sys.argv[1:]
    Store(Path(runs)).begin(int(number), token, own_identity())
    os.kill(os.getpid(), signal.SIGSEGV)
