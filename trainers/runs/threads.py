"""The number of threads of a run, fixed when it begins, so that a resumed run computes the same bits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from trainers.atomic_files import whole_file
from trainers.process.threads import among_trainings, choose_threads, computing_with
from trainers.runs.events import Recorder, read_events
from trainers.runs.run import Run

FILE = "threads"
"""File in a run's folder with the number of threads, as text."""


@contextmanager
def run_threads(run: Run, record: Recorder, processes: int = 1, anew: bool = False) -> Iterator[None]:
    """Use the run's number of threads while the block runs; a run without one gets a permanent one.

    Each of its `processes` uses as many. With `anew`, as if there were a different number before, it is chosen again.
    """
    with among_trainings() as others:
        kept = None if anew else read_threads(run)
        threads = choose_threads(others, processes) if kept is None else _at_most_here(kept, record)
        with whole_file(run.folder / FILE) as building:  # the number it began with, where fewer can run here, too
            building.write_text(f"{kept or threads}\n", encoding="utf-8")
        with computing_with(threads):
            yield


def read_threads(run: Run) -> int | None:
    """The number of threads that a run began with; None if it has not started.

    Runs of older versions have no file for it, but an event.
    """
    try:
        words = (run.folder / FILE).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        words = ""
    if words.strip().isdecimal() and int(words) > 0:
        return int(words)
    found = None
    for event in read_events(run.folder):
        if event["type"] == "start":
            found = event.get("threads") or found
        elif event["type"] == "anew":
            found = None
    return found


def _at_most_here(threads: int, record: Recorder) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads <= cores:
        return threads
    message = (
        f"the run began with {threads} threads, and this machine has {cores}: results will differ in the last bits"
    )
    record("note", message=message)
    return cores
