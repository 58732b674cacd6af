"""The process of one job: `python -m app.studio.run_job RUNS NUMBER TOKEN`, started by a dispatcher and needing none.

It confirms its claim, does the job, and lets the job's folder say how it ended. In the job's row it changes nothing
else: an orderly end, an error and a kill all free the device in the same way, by this process being gone.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import sentence
from app.jobs.processes.priority import lower_priority
from app.jobs.processes.process import own_identity
from app.jobs.restarts import apply_low_memory
from app.jobs.states import is_silent
from app.jobs.store import TRAIN, Job, Store
from app.jobs.summary import read_summary
from trainers.errors import BusyError, VelaturaError, failure_code
from trainers.runs.events import Recorder
from trainers.runs.run import Run
from trainers.runs.threads import limit_spinning

WATCH = 10.0
"""Seconds between two looks at whether the job is still this process's."""


def main(runs: str, number: str, token: str) -> int:
    """Do a job; the process's exit code."""
    store = Store(Path(runs))
    job = store.begin(int(number), token, own_identity())
    if job is None:  # it was cancelled or given to another dispatcher meanwhile
        return 0
    try:
        Run(job.folder).show_start()
        if job.cwd.is_dir():
            os.chdir(job.cwd)
        with _watching_claim(store, job):
            _perform(job)
    except BusyError as error:  # its folder is another process's to write to
        print(sentence(error), file=sys.stderr)
        return 1
    except Exception as error:
        _note_failure(job, sentence(error), failure_code(error))
        raise
    return 0


@contextmanager
def _watching_claim(store: Store, job: Job) -> Iterator[None]:
    """End this process at once should its job be another one's: it was thought dead, as after a lost network."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(WATCH):
            with suppress(VelaturaError):  # a queue that cannot be read takes nothing away
                row = store.job(job.id)
                if row.phase in ("claimed", "running") and row.token != job.token:
                    print(f"{job.name} was given to another process; this one ends", file=sys.stderr, flush=True)
                    os._exit(1)

    thread = threading.Thread(target=watch, name="claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        store.close()


def _perform(job: Job) -> None:
    if job.kind != TRAIN:
        _run_command(job)
        return
    from trainers.training.train import resume

    if job.low_memory:
        apply_low_memory(Run(job.folder))
    resume(Run(job.folder), heed_stop=True, attempt=job.attempts)


def _run_command(job: Job) -> None:
    """Do a small job: a `velatura` command that leaves its results in the job's folder and tells how far it is."""
    from typer import Exit

    from app.cli.main import app

    with Run(job.folder).training():
        record = Recorder(job.folder)
        record("attempt", number=job.attempts)
        record("working", message="Starting …")
        try:
            code = app(list(job.command), prog_name="velatura", standalone_mode=False, obj=record)
        except Exit as end:
            code = end.exit_code
        if isinstance(code, int) and code:
            raise VelaturaError(f"the command ended with code {code}")
        record("done")


def _note_failure(job: Job, words: str, code: str) -> None:
    """Say what went wrong, unless the run has said just that itself."""
    said, record = read_summary(job.folder), Recorder(job.folder)
    if silent := is_silent(job, said):
        record("attempt", number=job.attempts)  # or the words would count as an earlier attempt's
    if silent or said.ended != "failed" or said.message != words:
        record("error", message=words, **({"code": code} if code else {}))


if __name__ == "__main__":
    limit_spinning()  # before torch is loaded
    lower_priority()
    sys.exit(main(*sys.argv[1:]))
