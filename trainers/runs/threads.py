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
    """Use the run's number of threads in each of its `processes` while the block runs.

    It is chosen and stored if the run has none, or with `anew`.
    """
    with among_trainings() as others:
        stored = None if anew else read_threads(run)
        threads = choose_threads(others, processes) if stored is None else _at_most_here(stored, record)
        with whole_file(run.folder / FILE) as building:  # the number it began with, even if this machine has fewer
            building.write_text(f"{stored or threads}\n", encoding="utf-8")
        with computing_with(threads):
            yield


def read_threads(run: Run) -> int | None:
    """The number of threads that a run began with; None if it has not started.

    Runs of older versions have it in an event.
    """
    try:
        words = (run.folder / FILE).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        words = ""
    if words.strip().isdecimal() and int(words) > 0:
        return int(words)
    threads = None
    for event in read_events(run.folder):
        if event["type"] == "start":
            threads = event.get("threads") or threads
        elif event["type"] == "anew":
            threads = None
    return threads


def _at_most_here(threads: int, record: Recorder) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads <= cores:
        return threads
    message = (
        f"the run began with {threads} threads, and this machine has {cores}: results will differ in the last bits"
    )
    record("note", message=message)
    return cores
