"""Threads: fixed for a run, chosen by what else trains, asleep soon when they have nothing to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.trainers.tiny_runs import equal, events_of, stopping_at, style_tensors
from trainers.runs.events import Recorder
from trainers.runs.run import Run
from trainers.runs.threads import (
    COUNTS,
    FILE,
    SPINS,
    choose_threads,
    computing_with,
    limit_spinning,
    passing_threads,
    read_threads,
    run_threads,
)
from trainers.training.train import resume, train

TRAINING = """
import sys
from trainers.runs.threads import passing_threads
with passing_threads():
    print("training", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def nothing_else_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a test starts is counted, and no number of threads is set in the environment."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in COUNTS:
        monkeypatch.delenv(name, raising=False)


@contextmanager
def another_training() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", TRAINING]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "training\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def threads_beside() -> int:
    with passing_threads():
        return torch.get_num_threads()


def empty_run(folder: Path) -> Run:
    folder.mkdir()
    return Run(folder)


@pytest.mark.thorough  # `test_priority.py` in tests/app/jobs/processes looks at a job, the next one at the variables
@pytest.mark.process
@pytest.mark.parametrize("own", ["", "77"])
def test_the_openmp_library_is_told_to_sleep_soon_where_the_user_has_not_told_it_otherwise(own):
    code = "from trainers.runs.threads import limit_spinning; limit_spinning(); import torch"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP"))}

    env = environment | {"OMP_DISPLAY_ENV": "verbose"} | ({"GOMP_SPINCOUNT": own} if own else {})
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stderr
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", said)
    if found is None:
        pytest.skip("torch's OpenMP library here is another one than GNU's")
    assert found[1] == (own or str(SPINS))


def test_a_setting_of_the_user_s_own_stays():
    chosen = {"KMP_BLOCKTIME": "0"}
    limit_spinning(chosen)
    assert chosen == {"KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": str(SPINS)}
    counted = {"GOMP_SPINCOUNT": "77"}
    limit_spinning(counted)
    assert counted["GOMP_SPINCOUNT"] == "77"
    active = {"OMP_WAIT_POLICY": "active"}
    limit_spinning(active)
    assert active == {"OMP_WAIT_POLICY": "active"}


@pytest.mark.process
def test_threads_are_shared_with_other_trainings_until_they_die():
    with computing_with(6):
        assert threads_beside() == 6
        with another_training() as one, another_training():
            assert threads_beside() == 2
            one.kill()
            one.wait()
            assert threads_beside() == 3
        assert threads_beside() == 6 and torch.get_num_threads() == 6


def test_at_least_one_thread_is_chosen_and_a_number_in_the_environment_wins(monkeypatch):
    with computing_with(2):
        assert [choose_threads(others) for others in (0, 1, 5)] == [2, 1, 1]
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert choose_threads(5) == 2


def test_the_number_is_kept_in_the_folder_and_used_again(tmp_path):
    run = empty_run(tmp_path / "run")
    record = Recorder(run.folder)
    with computing_with(1), run_threads(run, record):
        assert torch.get_num_threads() == 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    with computing_with(cores + 1), run_threads(run, record):
        assert torch.get_num_threads() == 1
    (run.folder / FILE).unlink()
    assert read_threads(run) is None and not list(run.folder.glob("*.jsonl"))


def test_a_run_of_an_older_version_goes_on_with_the_number_that_it_said(tmp_path):
    run = empty_run(tmp_path / "run")
    record = Recorder(run.folder)
    assert read_threads(run) is None
    record("start", threads=3)
    record("start", threads="many")
    assert read_threads(run) == 3
    record("anew")
    assert read_threads(run) is None
    record("start", threads=2)
    (run.folder / FILE).write_bytes(b"\xff\xfe")
    assert read_threads(run) == 2
    (run.folder / FILE).write_text("5\n")
    assert read_threads(run) == 5


def test_more_threads_than_cores_are_not_used_and_that_is_said(tmp_path, monkeypatch):
    run = empty_run(tmp_path / "run")
    (run.folder / FILE).write_text("64\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1}, raising=False)
    with run_threads(run, Recorder(run.folder)):
        assert torch.get_num_threads() == 2
    assert read_threads(run) == 64, "where there are more cores again, it goes on with them"
    (note,) = events_of(run, "note")
    assert "began with 64 threads, and this machine has 2" in note["message"]


@pytest.mark.usefixtures("no_pictures")
def test_a_resumed_run_computes_with_the_threads_that_it_began_with(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1}, raising=False)
    config = quick()
    with computing_with(2):
        whole = train(config, tmp_path / "whole")
        train(config, tmp_path / "cut", listener=stopping_at(Run(tmp_path / "cut" / config.name), 1))
    run = Run(tmp_path / "cut" / config.name)
    with computing_with(1):
        result = resume(run)
    assert [event["threads"] for event in events_of(run, "start")] == [2, 2]
    assert equal(style_tensors(whole.style), style_tensors(result.style))
