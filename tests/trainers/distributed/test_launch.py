"""The processes of a run start, end and die together, and their run goes on from where it was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil
import pytest
import torch

from tests.trainers.processes import training_process, wait_for
from tests.trainers.tiny_runs import equal, events_of, state_of
from trainers.config.sections import Train
from trainers.device import check_devices
from trainers.distributed.devices import ProcessGroup, Rank, read_rank
from trainers.distributed.launch import (
    GRACE,
    TAKE_PART,
    First,
    Followers,
    Loss,
    as_launched,
    is_launched_after_first,
    lost,
)
from trainers.errors import LOST_PROCESS, VelaturaError
from trainers.randomness import Share
from trainers.runs.events import Event, Recorder
from trainers.runs.run import Run
from trainers.training.train import resume, train

DIED = r"process 2 of 2 of this run has ended: it was killed \(SIGKILL\).* is kept.*: velatura resume .*dusk$"
TWO = {"train": {"devices": 2, "batch_size": 2, "steps": 6}, "save": {"every": 2}}


def others() -> list[psutil.Process]:
    """The other processes of runs of this one."""
    return [p for p in psutil.Process().children() if "trainers.distributed.follow" in p.cmdline()]


def at_step(step: int, act: Callable[[], object]) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        if event["type"] == "step" and event["step"] == step:
            act()

    return listen


@pytest.mark.process
def test_the_loss_of_a_process_is_noticed_and_explained(tmp_path):
    run = Run(tmp_path / "dusk")
    run.checkpoint(4).mkdir(parents=True)
    followers = Followers(TAKE_PART, 2, "cpu", tmp_path)
    first = First(ProcessGroup(Rank(0, 2, 0, 2), None), followers)
    try:
        first.check_alive(run)
        (other,) = others()
        other.kill()
        assert followers.loss(60) is not None
        with pytest.raises(VelaturaError, match=DIED) as caught:
            first.check_alive(run)
        with pytest.raises(VelaturaError, match=DIED), first.explained(run, Recorder(run.folder)):
            raise RuntimeError("gloo: connection closed by peer")
    finally:
        followers.end()
    assert caught.value.code == LOST_PROCESS and "step 4 is kept" in str(caught.value) and not others()


@pytest.mark.thorough
def test_a_process_that_dies_ends_the_run_with_a_sentence(quick, tmp_path):
    config, run = quick(TWO, {"train": {"steps": 500}}), Run(tmp_path / "runs" / "dusk")
    # In a process of its own, which ends itself if Gloo does not notice the loss.
    with training_process(config, tmp_path / "runs") as process:
        wait_for("checkpoint", 2, run, process)
        (other,) = psutil.Process(process.pid).children()
        other.kill()
        died = time.monotonic()
        assert process.wait(120) == 1 and time.monotonic() - died < GRACE + 15
    (error,) = events_of(run, "error")
    kept = f"step {max(run.checkpoint_steps())} is kept"
    assert re.fullmatch(DIED, error["message"]) and kept in error["message"] and error["code"] == LOST_PROCESS
    assert not other.is_running() and not run.is_training()


def test_the_command_that_goes_on_quotes_the_folder(tmp_path):
    said = str(lost(Run(tmp_path / "red fox"), Loss(1, "it was killed"), 2))
    assert said.endswith(f": velatura resume '{tmp_path}/red fox'")


@pytest.mark.thorough
@pytest.mark.usefixtures("no_pictures")
def test_a_cut_run_of_two_processes_goes_on_to_the_bit(quick, tmp_path):
    whole = train(quick(TWO), tmp_path / "whole")
    run = Run(tmp_path / "cut" / "dusk")
    cut = train(quick(TWO), tmp_path / "cut", listener=at_step(3, run.ask_to_stop))
    assert (cut.steps, cut.stopped_by) == (3, "request")
    again = resume(run)
    assert again.steps == 6 and equal(state_of(Run(whole.run), 6), state_of(run, 6))
    assert not events_of(run, "note")[2:], "nothing is to be said where the number of devices stays"
    longer = resume(run, steps=8, devices=1)
    assert longer.steps == 8 and run.config().train.devices == 1
    notes, start = events_of(run, "note"), events_of(run, "start")[-1]
    assert "train.devices = 2 so far and continues with 1" in notes[-1]["message"]
    assert (start["devices"], start["devices_before"]) == (1, 2)
    assert not others() and not any(name in os.environ for name in Rank(0, 2, 0, 2).environment())


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_first(number, quick, tmp_path):
    config, run = quick(TWO, {"train": {"steps": 500}}), Run(tmp_path / "runs" / "dusk")
    with training_process(config, tmp_path / "runs") as process:
        wait_for("checkpoint", 2, run, process)
        children = psutil.Process(process.pid).children()
        assert len(children) == 1
        process.send_signal(number)
        process.wait(60)
        gone, alive = psutil.wait_procs(children, 15)
        assert gone and not alive
    assert run.checkpoint_steps() and bool(events_of(run, "stopped")) == (number != signal.SIGKILL)


@pytest.mark.thorough
def test_torchrun_starts_the_processes_of_a_run(quick, tmp_path):
    from trainers.config.build import dump_config

    file = tmp_path / "dusk.toml"
    file.write_text(dump_config(quick({"train": {"batch_size": 2}})), encoding="utf-8")
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "app.cli", "train", str(file)]
    done = subprocess.run([sys.executable, *command, "--out", str(tmp_path / "runs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = Run(tmp_path / "runs" / "dusk")
    assert [event["devices"] for event in events_of(run, "start")] == [2] == [run.config().train.devices]


# ---------------------------------------------------------------- ranks and shares
RANKS: list[tuple[Mapping[str, str], Rank | None]] = [
    ({}, None),
    ({"RANK": "0", "WORLD_SIZE": "1"}, None),
    ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, Rank(3, 4, 1, 2)),
    ({"RANK": "1", "WORLD_SIZE": "2"}, Rank(1, 2, 1, 2)),
]


@pytest.mark.parametrize(("environment", "rank"), RANKS)
def test_a_launcher_says_which_process_this_is(environment, rank):
    assert read_rank(environment) == rank
    with pytest.raises(VelaturaError, match="not whole numbers"):
        read_rank({"RANK": "one", "WORLD_SIZE": "2"})


def test_a_launched_run_has_as_many_devices_as_processes(quick, monkeypatch):
    config = quick({"train": {"batch_size": 4}})
    assert as_launched(config) is config and not is_launched_after_first()
    for name, value in Rank(1, 4, 1, 4).environment().items():
        monkeypatch.setenv(name, value)
    assert as_launched(config).train.devices == 4 and is_launched_after_first()
    two = quick({"train": {"batch_size": 4, "devices": 2}})
    with pytest.raises(VelaturaError, match="the launcher has started 4 processes; leave"):
        as_launched(two)
    assert as_launched(two, anew=True).train.devices == 4
    with pytest.raises(VelaturaError, match=r"batch_size = 3 cannot be split evenly over"):
        as_launched(quick({"train": {"batch_size": 3}}))


@pytest.mark.parametrize(
    ("settings", "cards", "said"),
    [
        ({"device": "cuda"}, 1, "needs as many graphics cards, and this machine has 1"),
        ({"device": "cuda:0"}, 2, "train.device = cuda:0 names one device"),
        ({"device": "mps"}, 0, "an Apple computer has one device"),
    ],
)
def test_devices_that_cannot_be_had_are_refused(settings: dict[str, Any], cards, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cards))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: not cards)
    with pytest.raises(VelaturaError, match=said):
        check_devices(Train(devices=2, **settings), 2)
    if settings["device"] == "cuda":
        assert check_devices(Train(devices=1, **settings), 1).type == "cuda"


def test_shares_make_up_the_whole():
    rows = torch.arange(24).reshape(12, 2)
    for groups in (1, 2):
        shares = [Share(index, 3).of_rows(rows, groups) for index in range(3)]
        joined = torch.cat([part for g in range(groups) for s in shares for part in [s.chunk(groups)[g]]])
        assert torch.equal(joined, rows)
    assert [list(Share(index, 2).of("abcd")) for index in range(2)] == [["a", "b"], ["c", "d"]]
