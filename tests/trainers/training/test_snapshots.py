"""Snapshots: a style of each sampled step, as the run would export it, whatever happens meanwhile."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest
from safetensors.torch import load_file

from tests.faults import Cut, Fault, faulty
from tests.pairs import seldom_but
from tests.trainers.tiny_runs import ALONE, WORD, equal, events_of, files_in, stopping_at, style_tensors
from trainers.formats.embedding import embedding_of
from trainers.formats.read import read_style
from trainers.runs.run import Run
from trainers.training.train import resume, train

pytestmark = pytest.mark.usefixtures("quick_runs")

SAMPLED = {"train": {"steps": 3}, "sample": {"every": 1}, "save": {"every": 1}}


def test_each_sampled_step_keeps_the_style_that_the_run_would_have_exported(quick, tmp_path):
    run = Run(train(quick(SAMPLED, {"train": {"ema": 0.5}}), tmp_path).run)
    snapshots = run.list_snapshots()
    assert list(snapshots) == [1, 2, 3] and snapshots[2] == run.snapshot(2)
    for path in snapshots.values():
        read_style(path)
    shorter = Run(tmp_path / "until-2" / "dusk")
    part = train(quick(SAMPLED, {"train": {"ema": 0.5}}), shorter.folder.parent, listener=stopping_at(shorter, 2))
    assert equal(style_tensors(snapshots[2]), style_tensors(part.style))
    assert snapshots[3].samefile(run.style / "dusk.safetensors")  # no room for the same bytes twice
    assert set(snapshots) == {event["step"] for event in events_of(run, "sample") if event["step"]}


@pytest.mark.parametrize("table", [WORD, ALONE])
def test_a_learned_word_is_kept_with_them_as_with_the_style(table, quick, tmp_path):
    run = Run(train(quick(table, {"sample": {"every": 2}}), tmp_path).run)
    for step in (2, 4):
        word = embedding_of(run.snapshot(step)) or run.snapshot(step)
        assert (word == run.snapshot(step)) == (table is ALONE)
        assert load_file(word)["emb_params"].shape[0] == 1
    assert list(run.list_snapshots()) == [2, 4]
    assert equal(load_file(run.snapshot(4)), load_file(run.style / "dusk.safetensors"))


def test_nothing_is_sampled_without_sampled_steps_and_old_runs_have_no_snapshots(quick, tmp_path):
    run = Run(train(quick(), tmp_path).run)
    assert list(run.list_snapshots()) == [2]  # the style itself
    assert Run(tmp_path).list_snapshots() == {}


def test_a_run_killed_while_it_writes_a_snapshot_loses_and_duplicates_nothing(quick, tmp_path):
    config = quick(SAMPLED, {"tokens": {"word": "<dusk>"}})
    counted = Cut(tmp_path / "whole")
    with faulty(Fault.KILL, 10**9, counted):
        train(config, counted.place)
    whole = {step: style_tensors(path) for step, path in Run(counted.place / "dusk").list_snapshots().items()}
    changes = [number for number, change in enumerate(counted.changes) if "/snapshots" in change]
    assert len(changes) > 20
    cut = Cut(tmp_path / "cut")
    with faulty(Fault.KILL, changes[len(changes) // 2], cut):
        train(config, cut.place)
    run = Run(cut.place / "dusk")
    for path in run.list_snapshots().values():
        read_style(path)  # whatever has its name is whole
    resume(run)
    found = {step: style_tensors(path) for step, path in run.list_snapshots().items()}
    assert found.keys() == whole.keys() and all(equal(found[step], whole[step]) for step in whole), cut.change
    assert not any("unfinished" in name or ".part" in name for name in files_in(run.folder)), cut.change
    sampled = [event["step"] for event in events_of(run, "sample")]
    assert len(sampled) <= len(whole) + 3 and set(sampled) == {0, *whole}


def test_a_step_that_was_sampled_is_not_sampled_again(quick, tmp_path):
    config = quick(SAMPLED)
    run = Run(tmp_path / "dusk")
    train(config, tmp_path, listener=stopping_at(run, 2))
    before = {step: path.stat().st_mtime_ns for step, path in run.list_snapshots().items()}
    assert list(before) == [1, 2]
    resume(run)
    assert [event["step"] for event in events_of(run, "sample")] == [0, 1, 2, 3]
    assert {step: run.snapshot(step).stat().st_mtime_ns for step in before} == before


@pytest.mark.parametrize("place", seldom_but(("/snapshots/",), ("/snapshots/", "/samples/step-00000001/")))
def test_a_disk_that_is_full_for_snapshots_or_pictures_costs_neither_run_nor_style(place, quick, tmp_path):
    from tests.trainers.runs.test_full_disk import fill_the_disk

    with pytest.MonkeyPatch.context() as patch:
        fill_the_disk(patch, lambda path: place in path.as_posix())
        result = train(quick(SAMPLED), tmp_path / "full")
    run = Run(result.run)
    assert result.steps == 3 and result.stopped_by == ""
    assert any("disk" in event["message"].lower() or "space" in event["message"] for event in events_of(run, "warning"))
    assert equal(style_tensors(result.style), style_tensors(train(quick(SAMPLED), tmp_path / "whole").style))
    assert not any("unfinished" in name or ".part" in name for name in files_in(run.folder))


def test_snapshots_leave_the_last_of_the_disk_to_checkpoints(quick, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9 - 10_000, 10_000))
    run = Run(train(quick(SAMPLED), tmp_path).run)
    assert run.checkpoint_steps() == [2, 3] and (run.style / "dusk.safetensors").is_file()
    assert list(run.list_snapshots()) == [3]  # which is the style by another name
    warnings = [event["message"] for event in events_of(run, "warning")]
    assert len(warnings) == 2 and "the disk is nearly full" in warnings[0]
