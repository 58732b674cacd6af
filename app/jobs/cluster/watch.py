"""The process that follows a cluster: `python -m app.jobs.cluster.watch RUNS ADDRESS`.

It writes the nodes into the folder of runs and tidies the storage, until its standard input ends. The studio does not
do this itself, since Ray ends the process when the machine's own Ray processes die.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from app.errors import sentence
from app.jobs.cluster.connection import connected, read_token
from app.jobs.cluster.manifests import job_key, tidy
from app.jobs.cluster.nodes import ClusterSnapshot, from_ray, write_seen
from app.jobs.cluster.storage import Storage, given_storage
from app.jobs.processes.process import end_with_parent
from app.jobs.store import Store
from trainers.errors import VelaturaError

LOOK_EVERY = 2.0
"""Seconds between updates."""
TIDY_EVERY = 3600.0
"""Seconds between removals of unused contents."""


def main(place: str, address: str) -> int:
    """Follow a cluster until standard input ends; returns 1 if it cannot be reached."""
    runs = Path(place)
    end_with_parent()
    if (storage := given_storage()) is not None:
        threading.Thread(target=_tidy, args=(storage, runs), daemon=True).start()
    try:
        with connected(address, read_token(runs)) as ray:
            while True:
                write_seen(runs, ClusterSnapshot(from_ray(ray.nodes()), time=time.time()))
                time.sleep(LOOK_EVERY)
    except VelaturaError as error:
        write_seen(runs, ClusterSnapshot(problem=error.message, time=time.time()))
        return 1


def _tidy(storage: Storage, runs: Path) -> None:
    store = Store(runs)
    while True:
        try:
            active = {job_key(job.kind, job.folder.name) for job in store.active()} if store.exists() else set()
            tidy(storage, active)
        except VelaturaError as error:  # retried later; jobs that need the storage fail with the same error
            print(sentence(error), file=sys.stderr)
        time.sleep(TIDY_EVERY)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
