"""Pieces of HTML about a run."""

from __future__ import annotations

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import NewJob, Store
from app.jobs.views import Watcher
from app.ui.runs import run_view
from trainers.config.build import build_config
from trainers.runs.events import Recorder
from trainers.runs.run import Run, write_config


def test_what_a_waiting_run_is_to_be_is_read_again_only_once_its_config_has_changed(tmp_path, monkeypatch):
    store, run, read = Store(tmp_path), Run(tmp_path / "dusk"), []
    run.folder.mkdir()
    settings = {"name": "dusk", "data": {"images": "dataset"}}
    write_config(run, build_config({**settings, "base": {"model": "starter"}}, {}))
    store.add(NewJob("train", run.folder))
    table = Run.table
    monkeypatch.setattr(Run, "table", lambda self: read.append(self) or table(self))
    (view,) = Watcher(store).views()
    assert [run_view.kind(view, MACHINE_OWNER) for _ in range(3)] == ["LoRA · on Velatura starter"] * 3 and len(
        read
    ) == 1
    write_config(run, build_config({**settings, "base": {"model": "/models/mine.safetensors"}}, {}))
    assert run_view.kind(view, MACHINE_OWNER) == "LoRA · on mine.safetensors" and len(read) == 2
    (run.folder / "config.toml").unlink()
    assert run_view.kind(view, MACHINE_OWNER) == ""


def test_a_run_on_several_devices_says_so_and_that_their_number_has_changed(tmp_path):
    store, run = Store(tmp_path), Run(tmp_path / "dusk")
    run.folder.mkdir()
    store.add(NewJob("train", run.folder))
    record, said = Recorder(run.folder), []
    for facts in ({}, {"devices": 1}, {"devices": 2}, {"devices": 4, "devices_before": 2}):
        record("start", base="starter", images=3, **facts)
        (view,) = Watcher(store).views()
        said.append([fact for fact in run_view.facts(view) if "evices" in fact])
    assert said == [[], [], ["Devices: 2"], ["Devices: 4, earlier 2"]]
