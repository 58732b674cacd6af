"""A Python process of a benchmark, from its command to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.two_runs import ROOT, clean

MIB = 2**20


def finish(words: Sequence[str]) -> tuple[float, float, float, str]:
    """When a Python process began and ended, its peak memory in MiB and its output; RuntimeError if it failed."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.time()
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=clean(), stdout=output, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(errors.read()[-2000:])
        output.seek(0)
        return began, time.time(), used.ru_maxrss * 1024 / MIB, output.read()
