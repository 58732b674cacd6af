"""A run that goes on: what it says when its base has other weights than before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from trainers.composition.start import Started
from trainers.config.build import build_config
from trainers.models.families import FAMILIES
from trainers.runs.events import Recorder, latest_events
from trainers.runs.run import Run
from trainers.training import opening
from trainers.training.opening import begin_from, note_changed_base


@pytest.mark.parametrize(
    ("starter", "before", "checkpoints", "said"),
    [
        (True, "new", 1, ""),
        (True, "old", 1, "This run began on another version of the starter, and goes on with the present one"),
        (True, None, 1, "This run began on another version of the starter, and goes on with the present one"),
        (True, "old", 0, ""),
        (False, "new", 1, ""),
        (False, "old", 1, "The weights of dusk base have changed since this run began"),
        (False, None, 1, ""),
    ],
)
def test_a_run_says_that_its_base_has_changed(starter, before, checkpoints, said, tmp_path: Path):
    run, record = Run(tmp_path / "dusk"), Recorder(tmp_path / "dusk")
    model: Any = SimpleNamespace(starter=starter, sha256="new", title="dusk base")
    run.folder.mkdir()
    record("start", **({} if before is None else {"base_sha256": before}))
    for step in range(checkpoints):
        run.checkpoint(step + 1).mkdir(parents=True)
    assert note_changed_base(run, model, record) is bool(said)
    notes = [event["message"] for event in latest_events(run.folder) if event["type"] == "note"]
    assert len(notes) == bool(said) and all(note.startswith(said) for note in notes)


@pytest.mark.parametrize(
    ("starter", "made_on", "told"),
    [(True, "old", True), (True, "new", False), (True, "", False), (False, "old", False)],
)
def test_a_style_of_another_starter_to_start_from_is_told(starter, made_on, told, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(opening, "start_from", lambda *_: Started(7, 0.0))
    run, model = Run(tmp_path / "dusk"), SimpleNamespace(starter=starter, sha256="new", parts={}, family=FAMILIES[0])
    run.folder.mkdir()
    metadata = {"velatura.fits_only": "Velatura starter", "velatura.base_sha256": made_on}
    factors = {f"lora_unet_x.lora_{side}.weight": torch.ones(2, 2) for side in ("down", "up")}
    save_file(factors, tmp_path / "ink.safetensors", metadata)
    config = build_config({"name": "dusk", "train": {"start_from": str(tmp_path / "ink.safetensors")}})
    begin_from(run, config, model, None, Recorder(run.folder))  # type: ignore[arg-type]
    first, *rest = [event["message"] for event in latest_events(run.folder)]
    assert first == "The training starts from ink.safetensors, on 7 layers."
    assert [note.startswith("ink.safetensors was trained on another version of the starter") for note in rest] == [
        True
    ] * told


def test_a_new_run_says_nothing(tmp_path: Path):
    run = Run(tmp_path / "dusk")
    run.folder.mkdir()
    note_changed_base(run, SimpleNamespace(starter=True, sha256="new", title=""), Recorder(run.folder))  # type: ignore[arg-type]
    assert latest_events(run.folder) == []
