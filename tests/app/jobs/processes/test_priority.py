"""A job makes way for the studio: lower priority, threads that sleep soon, both before torch is loaded."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.priority import NICE, VARIABLE
from app.jobs.processes.process import own_identity, start_detached
from tests.app.jobs.working import CPU, state_of
from tests.trainers.tiny_runs import events_of
from trainers.runs.run import Run
from trainers.runs.threads import FILE, SPINS

pytestmark = pytest.mark.usefixtures("quick_runs")


@pytest.mark.skipif(sys.platform == "win32", reason="its priorities are classes")
@pytest.mark.parametrize(("told", "expected"), [("", NICE), ("4", 4)])
def test_the_process_of_a_job_is_nicer_and_its_threads_sleep_soon(store, quick, monkeypatch, told, expected):
    monkeypatch.setenv(VARIABLE, told)
    job = actions.add(store, quick("dusk"), actor=MACHINE_OWNER)
    claimed = store.claim(CPU.choose, own_identity())
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    words = [str(store.runs), str(job.id), claimed.token]
    environment = {"OMP_DISPLAY_ENV": "verbose", "OMP_NUM_THREADS": "1"}
    child = start_detached("app.studio.run_job", words, job.folder / "process.log", environment)
    process, nice, group = psutil.Process(child.pid), 0, ""
    own_group = Path("/proc/self/autogroup")
    while child.poll() is None and store.job(job.id).phase != "running":
        time.sleep(0.05)  # leave it the processor
    if child.poll() is None:
        nice = process.nice()
        autogroup = Path(f"/proc/{child.pid}/autogroup")
        group = autogroup.read_text() if autogroup.exists() else ""
    assert child.wait(120) == 0 and state_of(store, job.id) in ("finished", "saving")
    assert nice == max(expected, os.getpriority(os.PRIO_PROCESS, 0))
    log = (job.folder / "process.log").read_text()
    assert "GOMP_SPINCOUNT" not in log or f"GOMP_SPINCOUNT = '{SPINS}'" in log
    if own_group.exists():
        assert group.split()[-1] == str(expected)
    assert [event["threads"] for event in events_of(Run(job.folder), "start")] == [1]
    assert (job.folder / FILE).read_text() == "1\n"
