"""A run with something to lose."""

from __future__ import annotations

import pytest

from app.jobs.store import TRAIN, Job, NewJob, Store
from tests.app.ui.ended_runs import write_run
from trainers.runs.events import Recorder
from trainers.runs.run import Run

SHORT = {"train": {"steps": 4, "warmup": 0}}


@pytest.fixture
def dusk(store: Store) -> Job:
    """A run of Ann's that was paused at step 2, with a checkpoint and a style of an earlier end."""
    folder = write_run(store.runs, "dusk", SHORT)
    (folder / "dataset").mkdir()
    (folder / "dataset" / "0001.png").write_bytes(b"a picture")
    Run(folder).checkpoint(2).mkdir(parents=True)
    (Run(folder).checkpoint(2) / "progress.json").write_text("{}")
    record = Recorder(folder)
    record("checkpoint", step=2)
    record("paused", step=2)
    return store.add(NewJob(TRAIN, folder, owner="ann"), phase="ended")
