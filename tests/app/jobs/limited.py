"""A job's process that may have BYTES more than it has when its run starts: `limited BYTES RUNS NUMBER TOKEN`."""

from __future__ import annotations

import resource
import sys
import threading
from pathlib import Path

import psutil

from app.jobs.store import Store
from app.studio import run_job
from tests.trainers.tiny_runs import events_of
from trainers.runs.run import Run


def limit_when_started(run: Run, more: int) -> None:
    """Limit this process's memory as soon as the run says that it has started."""
    while not events_of(run, "start"):
        pass
    most = psutil.Process().memory_info().vms + more
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    more, *words = sys.argv[1:]
    run = Run(Store(Path(words[0])).job(int(words[1])).folder)
    threading.Thread(target=limit_when_started, args=(run, int(more)), daemon=True).start()
    sys.exit(run_job.main(*words))
