"""Pieces of HTML about a run."""

from __future__ import annotations

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import NewJob, Store
from app.jobs.views import Watcher
from app.ui.runs import run_view
from trainers.config.build import build_config
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
