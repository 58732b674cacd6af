"""Threads of a run: fixed when it begins, stored in its folder, used again when it is resumed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.trainers.tiny_runs import events_of, stopping_at
from trainers.process.threads import computing_with
from trainers.runs.events import Recorder
from trainers.runs.run import Run
from trainers.runs.threads import FILE, read_threads, run_threads
from trainers.training.train import resume, train

pytestmark = pytest.mark.usefixtures("nothing_else_trains")


def empty_run(folder: Path) -> Run:
    folder.mkdir()
    return Run(folder)


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
    config, counts = quick(), list[int]()
    run = Run(tmp_path / config.name)
    with computing_with(1):
        train(config, tmp_path, listener=stopping_at(run, 1))
    with computing_with(2):
        resume(run, lambda event: counts.append(torch.get_num_threads()) if event["type"] == "step" else None)
    assert [event["threads"] for event in events_of(run, "start")] == [1, 1]
    assert counts == [1]
