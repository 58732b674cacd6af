"""Checkpoints: whole or not at all, only the newest, and exactly what was saved."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from tests.faults import Fault, each_cut
from tests.pairs import seldom_but
from tests.trainers.adapters.layers import attach_to, make_input, make_layers
from tests.trainers.tiny_runs import equal, files_in, state_of
from trainers.adapters.methods.lora import LoRA
from trainers.config.sections import Train
from trainers.errors import VelaturaError
from trainers.runs.progress import Progress
from trainers.runs.run import Run
from trainers.training import checkpoint
from trainers.training.checkpoint import load_checkpoint, save_checkpoint, set_damaged_aside
from trainers.training.step.optim import MovingAverage, make_optimizer, parameter_groups

pytestmark = pytest.mark.slow

SETTINGS = Train(learning_rate=1e-2)


def trained(steps: int):
    """A network after some steps of AdamW, with its optimizer and moving average."""
    net, x = make_layers(), make_input()
    network = attach_to(net, LoRA(rank=2, alpha=1.0))
    optimizer = make_optimizer(parameter_groups(network, SETTINGS), SETTINGS)
    average = MovingAverage(network, 0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
        average.update()
    return network, optimizer, average


def test_everything_comes_back_with_the_same_bits(tmp_path):
    run = Run(tmp_path)
    network, optimizer, average = trained(3)
    save_checkpoint(run, Progress(3, 1, 2.5), network, optimizer, average, keep=2)
    other, state, mean = trained(0)
    assert load_checkpoint(run, other, state, mean) == Progress(3, 1, 2.5)
    assert equal(other.state_dict(), network.state_dict())
    assert equal(mean.values, average.values) and mean.updates == 3
    for index, saved in optimizer.state_dict()["state"].items():
        assert equal(saved, state.state_dict()["state"][index])
    assert state.param_groups[0]["peak_lr"] == 1e-2


def test_the_scaler_comes_back_and_an_older_checkpoint_leaves_it(tmp_path):
    scaler, run = torch.amp.GradScaler("cpu", init_scale=2.0**9, growth_interval=7), Run(tmp_path)
    save_checkpoint(run, Progress(1), *trained(1), keep=2)  # as older versions wrote it
    fresh = torch.amp.GradScaler("cpu", init_scale=4.0)
    load_checkpoint(run, *trained(0), fresh)
    assert fresh.state_dict()["scale"] == 4.0
    save_checkpoint(run, Progress(2), *trained(1), keep=2, scaler=scaler)
    load_checkpoint(run, *trained(0), fresh)
    assert fresh.state_dict() == scaler.state_dict()


def test_a_checkpoint_on_another_disk_is_replaced_by_its_link_alone(tmp_path):
    run, elsewhere = Run(tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    for step in (1, 2):
        save_checkpoint(run, Progress(step), *trained(step), keep=2)
        run.checkpoint(step).rename(elsewhere / str(step))
        run.checkpoint(step).symlink_to(elsewhere / str(step))
    save_checkpoint(run, Progress(2), *trained(2), keep=2)  # over the link
    save_checkpoint(run, Progress(3), *trained(3), keep=2)  # the first is no longer kept
    assert run.checkpoint_steps() == [2, 3] and not run.checkpoint(2).is_symlink()
    assert files_in(elsewhere) == {f"{step}/{file.name}" for step in "12" for file in run.checkpoint(3).iterdir()}
    assert load_checkpoint(run, *trained(0)).step == 3


def test_only_the_newest_are_kept(tmp_path):
    run = Run(tmp_path)
    network, optimizer, _ = trained(1)
    for step in (1, 2, 10, 30):
        save_checkpoint(run, Progress(step), network, optimizer, None, keep=2)
    assert run.checkpoint_steps() == [10, 30]
    assert {path.name for path in run.checkpoint(30).iterdir()} == {
        "network.safetensors",
        "optimizer.pt",
        "progress.json",
        "SHA256SUMS",
    }
    sums = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(sums, cwd=run.checkpoint(30), check=True)
    assert json.loads((run.checkpoint(30) / "progress.json").read_text())["step"] == 30


@pytest.mark.parametrize("name", ["network.safetensors", "average.safetensors", "optimizer.pt", "progress.json"])
def test_a_failure_leaves_the_checkpoints_before_it(name, tmp_path, monkeypatch):
    run = Run(tmp_path)
    network, optimizer, average = trained(1)
    save_checkpoint(run, Progress(1), network, optimizer, average, keep=1)
    before = files_in(tmp_path)

    write = checkpoint._write

    def refuse(path, data):
        write(path, data[: len(data) // 2])
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", refuse)
    for step in (1, 2):
        with pytest.raises(OSError, match="No space"):
            save_checkpoint(run, Progress(step), network, optimizer, average, keep=1)
        assert files_in(tmp_path) == before
    monkeypatch.undo()
    assert load_checkpoint(run, *trained(0)).step == 1


@pytest.mark.parametrize("fault", seldom_but((Fault.FULL, Fault.POWER), Fault))
def test_a_fault_at_any_change_leaves_the_checkpoint_before_or_the_new_one(fault, tmp_path):
    before, after, states = Run(tmp_path / "before"), Run(tmp_path / "after"), {1: trained(1), 2: trained(2)}
    save_checkpoint(before, Progress(1), *states[1], keep=1)
    shutil.copytree(before.folder, after.folder)
    save_checkpoint(after, Progress(2), *states[2], keep=1)
    expected = {1: state_of(before, 1), 2: state_of(after, 2)}
    seen, other = [], trained(0)
    for cut in each_cut(
        fault,
        tmp_path,
        before.folder,
        lambda place: save_checkpoint(Run(place), Progress(2), *states[2], keep=1),
    ):
        run = Run(cut.place)
        assert set_damaged_aside(run) == [], cut
        seen.append(load_checkpoint(run, *other).step)
        assert equal(state_of(run, seen[-1]), expected[seen[-1]]), cut
        if fault in (Fault.FULL, Fault.BROKEN) and cut.change:
            assert isinstance(cut.error, OSError) and not list(run.checkpoints.glob(".*")), cut
        if list(run.checkpoints.glob(".*")):
            save_checkpoint(run, Progress(3), *states[2], keep=1)
            assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000003"], cut
    assert seen == sorted(seen) and set(seen) == {1, 2} and len(seen) > 15


def test_the_first_checkpoint_is_on_the_disk_when_it_is_said_to_be(tmp_path):
    state = trained(1)
    first = each_cut(
        Fault.POWER,
        tmp_path,
        None,
        lambda place: save_checkpoint(Run(place), Progress(1), *state, keep=1),
    )
    *cuts, whole = first
    assert cuts and load_checkpoint(Run(whole.place), *trained(0)).step == 1
    assert all(Run(cut.place).checkpoint_steps() in ([], [1]) for cut in cuts)


@pytest.mark.parametrize("name", ["network.safetensors", "average.safetensors", "optimizer.pt", "progress.json"])
@pytest.mark.parametrize("damage", ["cut", "missing", "flipped"])
def test_a_damaged_checkpoint_is_a_sentence_and_changes_nothing(name, damage, tmp_path):
    run = Run(tmp_path)
    save_checkpoint(run, Progress(3), *trained(3), keep=1)
    path = run.checkpoint(3) / name
    whole = path.read_bytes()
    changed = whole[:-1] + bytes([whole[-1] ^ 1])
    path.unlink() if damage == "missing" else path.write_bytes(changed if damage == "flipped" else whole[:50])
    network, optimizer, average = trained(0)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(VelaturaError, match=rf"step-00000003 is damaged \({name}.*move that folder away and train"):
        load_checkpoint(run, network, optimizer, average)
    assert equal(network.state_dict(), before) and average.updates == 0


@pytest.mark.parametrize("name", ["network.safetensors", "SHA256SUMS"])
def test_sectors_that_cannot_be_read_cost_a_checkpoint_and_a_want_of_means_costs_none(name, tmp_path, monkeypatch):
    run, read, code = Run(tmp_path), Path.read_bytes, errno.EMFILE
    for step in (1, 2):
        save_checkpoint(run, Progress(step), *trained(step), keep=2)

    def refuse(path: Path) -> bytes:
        if path == run.checkpoint(2) / name:
            raise OSError(code, os.strerror(code))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        set_damaged_aside(run)
    assert run.checkpoint_steps() == [1, 2]
    code = errno.EIO
    with pytest.raises(VelaturaError, match=rf"step-00000002 is damaged \({name}: Input/output error\); .* step 1"):
        load_checkpoint(run, *trained(0))
    assert set_damaged_aside(run) == [2] and load_checkpoint(run, *trained(0)).step == 1


def test_another_network_s_checkpoint_is_refused(tmp_path):
    run = Run(tmp_path)
    network, optimizer, _ = trained(1)
    save_checkpoint(run, Progress(1), network, optimizer, None, keep=1)
    larger = attach_to(make_layers(), LoRA(rank=3, alpha=1.0))
    with pytest.raises(VelaturaError, match=r"config\.toml has changed"):
        load_checkpoint(run, larger, make_optimizer(parameter_groups(larger, SETTINGS), SETTINGS), None)


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(VelaturaError, match="has no checkpoint; restart the training with: velatura resume"):
        load_checkpoint(Run(tmp_path), *trained(0))


def test_a_checkpoint_holds_no_weight_of_the_base(tmp_path):
    network, optimizer, average = trained(1)
    save_checkpoint(Run(tmp_path), Progress(1), network, optimizer, average, keep=1)
    numbers = sum(p.numel() for p in network.parameters())
    size = (Run(tmp_path).checkpoint(1) / "network.safetensors").stat().st_size
    assert 4 * numbers <= size < 4 * numbers + 4096 and all(p.dtype == torch.float32 for p in network.parameters())
