"""What the training in the background says of itself."""

from __future__ import annotations

import json
import os
import re

import pytest

from tools.starter.progress import Progress, describe_status, hold, is_held, read_latest, read_status
from trainers.errors import BusyError


def test_every_event_is_a_line_and_the_last_one_the_state(tmp_path):
    progress = Progress(tmp_path)
    progress.begin("f8c4-deeper")
    progress.suspend_or_go_on("pytest runs (process 7)", 0)
    progress.suspend_or_go_on("", 1)
    progress.suspend_or_go_on("", 2)
    lines = (tmp_path / "progress.log").read_text(encoding="utf-8").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w", line) for line in lines)
    assert [line[20:] for line in lines] == [
        *("f8c4-deeper begins", "suspended: pytest runs (process 7)", "training on 1 thread", "training on 2 threads"),
    ]
    status = read_status(tmp_path)
    assert status == {
        **{"process": os.getpid(), "stage": "f8c4-deeper"},
        **{"state": "training on 2 threads", "since": lines[-1][:19]},
    }


def test_a_folder_is_held_by_one(tmp_path):
    folder = tmp_path / "state"
    assert not is_held(folder) and not folder.exists()
    with hold(folder):
        Progress(folder).tell("begins")
        assert is_held(folder)
        with pytest.raises(BusyError, match=rf"running already \(process {os.getpid()}\) in .*state; --status says"):
            hold(folder).__enter__()
    assert not is_held(folder)


def test_the_status_has_the_latest_figure_of_each_kind(tmp_path):
    assert describe_status(tmp_path, {}, {}) == f"Nothing has been trained in {tmp_path} yet."
    progress = Progress(tmp_path)
    progress.begin("small")
    stage = tmp_path / "small" / "learn"
    stage.mkdir(parents=True)
    lines = [{"step": 3, "loss": 2.0, "images_s": 9.0}, {"step": 4, "psnr": 25.5}, {"step": 6, "loss": 1.5}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (stage / "log.jsonl").write_text(text + '{"step": 9, "lo', encoding="utf-8")
    assert read_latest(stage / "log.jsonl") == {"step": 6, "loss": 1.5, "images_s": 9.0, "psnr": 25.5}
    found = describe_status(tmp_path, {"small/learn": 10, "small/none": 4}, {"shipped": {"psnr": 24.0}})
    assert found.splitlines()[0] == f"Not running in {tmp_path}"
    assert found.splitlines()[1].endswith(" small: small begins")
    assert found.splitlines()[2:] == [
        *("small/learn: step 6 of 10, loss 1.5, images_s 9.0, psnr 25.5", "", "shipped", "  psnr 24.0"),
    ]
    with hold(tmp_path):
        assert describe_status(tmp_path, {}, {}).startswith(f"Running (process {os.getpid()})")
