"""Pieces of HTML about a run."""

from __future__ import annotations

from dataclasses import replace

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.states import State
from app.jobs.store import NewJob, Store
from app.jobs.views import Watcher
from app.studio.dataset.drafts import Choices, Draft
from app.studio.runs.origin import write_origin
from app.ui.components.runs import run_view
from tests.app.ui.ended_runs import write_run
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
    assert {run_view.kind(view, MACHINE_OWNER) for _ in range(3)} == {"LoRA 16/16 · on Velatura starter"}
    assert len(read) == 1
    write_origin(run.folder, Draft(id="1", public="1", choices=Choices(preset="faithful")))
    method, word = {"name": "lora", "rank": 8, "alpha": 4.5}, {"word": "<dusk>"}
    settings |= {"base": {"model": "/models/mine.safetensors"}, "method": method, "tokens": word}
    write_config(run, build_config(settings, {}))
    said = run_view.kind(view, MACHINE_OWNER)
    assert said == "Faithful · LoRA 8/4.5 + Textual inversion · on mine.safetensors" and len(read) == 2
    (run.folder / "config.toml").unlink()
    assert run_view.kind(view, MACHINE_OWNER) == "", "not even its preset, so that nobody takes it for whole"
    Recorder(run.folder)("start", method="oft", base="starter", images=3)
    (view,) = Watcher(store).views()
    assert run_view.kind(view, MACHINE_OWNER) == "OFT · on starter · 3 pictures"


def test_the_time_axis_of_a_run_that_has_ended_ends_where_the_run_did(queue):
    write_run(queue.store.runs, "dusk", {"train": {"steps": 180}})
    view = queue.find("dusk")
    early = replace(view, summary=replace(view.summary, step=7))
    assert run_view.axis_end(early) == 7 and run_view.axis_end(replace(early, state=State.TRAINING)) == 180
    assert run_view.axis_end(replace(view, summary=replace(view.summary, step=0))) == 180, "it never began"


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
