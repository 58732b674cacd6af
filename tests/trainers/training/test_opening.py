"""A run that goes on: what it says when its base has other weights than before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainers.runs.events import Recorder, latest_events
from trainers.runs.run import Run
from trainers.training.opening import note_changed_base


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
    note_changed_base(run, model, record)
    notes = [event["message"] for event in latest_events(run.folder) if event["type"] == "note"]
    assert len(notes) == bool(said) and all(note.startswith(said) for note in notes)


def test_a_new_run_says_nothing(tmp_path: Path):
    run = Run(tmp_path / "dusk")
    run.folder.mkdir()
    note_changed_base(run, SimpleNamespace(starter=True, sha256="new", title=""), Recorder(run.folder))  # type: ignore[arg-type]
    assert latest_events(run.folder) == []
