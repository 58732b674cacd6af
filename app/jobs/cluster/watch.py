"""The process that follows a cluster: `python -m app.jobs.cluster.watch RUNS ADDRESS`.

It writes the nodes that it sees among the runs. Ray ends it when the machine's own Ray processes die, so it is not the
studio. It ends when its standard input does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from app.jobs.cluster.connection import connected, read_token
from app.jobs.cluster.nodes import Seen, from_ray, write_seen
from app.jobs.processes.process import end_with_parent
from trainers.errors import VelaturaError

LOOK_EVERY = 2.0
"""Seconds between looks."""


def main(place: str, address: str) -> int:
    """Follow a cluster until standard input ends; the exit code is 1 if it cannot be reached."""
    runs = Path(place)
    end_with_parent()
    try:
        with connected(address, read_token(runs)) as ray:
            while True:
                write_seen(runs, Seen(from_ray(ray.nodes()), time=time.time()))
                time.sleep(LOOK_EVERY)
    except VelaturaError as error:
        write_seen(runs, Seen(problem=error.message, time=time.time()))
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
