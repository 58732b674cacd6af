"""A process that says who it is and then only lives."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from app.jobs.processes.process import own_identity

if __name__ == "__main__":
    me = own_identity()
    Path(sys.argv[1]).write_text(f"{me.pid} {me.started} {os.environ.get('SIGN', '-')}\n", encoding="utf-8")
    while True:
        print("alive", flush=True)
        time.sleep(0.2)
