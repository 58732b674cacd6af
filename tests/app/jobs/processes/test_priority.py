"""A job makes way for the studio: lower priority, threads that sleep soon, both before torch is loaded."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.priority import NICE, VARIABLE
from app.jobs.processes.process import own_identity, start_detached
from app.jobs.store import Job, Store
from tests.app.jobs.working import CPU, add_quick, state_of
from tests.trainers.tiny_runs import events_of
from trainers.process.threads import SPINS
from trainers.runs.run import Run
from trainers.runs.threads import FILE


def start(store: Store, job: Job) -> subprocess.Popen[bytes]:
    """Start the process of a job as a dispatcher does, with one thread; what OpenMP goes by is in its log."""
    claimed = store.claim(CPU.choose, own_identity())
    assert claimed is not None and claimed.id == job.id
    words = [str(store.runs), str(job.id), claimed.token]
    environment = {"OMP_DISPLAY_ENV": "verbose", "OMP_NUM_THREADS": "1"}
    return start_detached("app.studio.run_job", words, job.folder / "process.log", environment)


def niceness(store: Store, job: Job, child: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The process's niceness and its group's ("" where there are no groups) once it has begun its job."""
    while child.poll() is None and store.job(job.id).phase != "running":
        time.sleep(0.02)  # leave it the processor
    autogroup = Path(f"/proc/{child.pid}/autogroup")
    return psutil.Process(child.pid).nice(), autogroup.read_text().split()[-1] if autogroup.exists() else ""


@pytest.mark.thorough  # the tests below look at processes that do not load torch
@pytest.mark.skipif(sys.platform == "win32", reason="its priorities are classes")
def test_the_process_of_a_run_is_nicer_and_its_threads_sleep_soon(store, quick, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    child = start(store, job)
    nice, group = niceness(store, job, child)
    assert nice == max(NICE, os.getpriority(os.PRIO_PROCESS, 0)) and group in ("", str(NICE))
    assert child.wait(120) == 0 and state_of(store, job.id) in ("finished", "saving")
    log = (job.folder / "process.log").read_text()
    assert "GOMP_SPINCOUNT" not in log or f"GOMP_SPINCOUNT = '{SPINS}'" in log
    assert [event["threads"] for event in events_of(Run(job.folder), "start")] == [1]
    assert (job.folder / FILE).read_text() == "1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="its priorities are classes")
@pytest.mark.parametrize(("variable", "wanted"), [("", NICE), ("4", 4)])
def test_the_environment_says_how_nice_a_job_is(store, monkeypatch, variable, wanted):
    monkeypatch.setenv(VARIABLE, variable)
    job = add_quick(store, actions.new_folder(store, "one"))
    child = start(store, job)
    nice, group = niceness(store, job, child)
    assert nice == max(wanted, os.getpriority(os.PRIO_PROCESS, 0)) and group in ("", str(wanted))
    assert child.wait(120) == 0


@pytest.mark.filterwarnings("ignore:'app.studio.run_job' found in sys.modules:RuntimeWarning")
def test_the_module_of_a_job_lets_threads_sleep_soon(store, monkeypatch):
    variables = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    monkeypatch.setattr(os, "environ", variables | {VARIABLE: "0"})  # this process stays as nice as it is
    job = add_quick(store, actions.new_folder(store, "one"))
    claimed = store.claim(CPU.choose, own_identity())
    monkeypatch.setattr(sys, "argv", ["run_job", str(store.runs), str(job.id), claimed.token])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("app.studio.run_job", run_name="__main__")
    assert end.value.code == 0 and os.environ["GOMP_SPINCOUNT"] == str(SPINS)
