"""The queue as it is shown."""

from __future__ import annotations

from app.jobs.store import NewJob, Store
from app.jobs.views import Watcher
from trainers.events import Recorder


def test_a_run_that_fell_back_says_so_until_it_begins_anew(tmp_path):
    store = Store(tmp_path)
    folder = tmp_path / "dusk"
    folder.mkdir()
    job = store.add(NewJob("train", folder), phase="ended")
    record, watcher = Recorder(folder), Watcher(store)
    record("checkpoint", step=20)
    record("damaged", step=20, saved=10, message="words")
    said = watcher.view(job.id).said
    assert (said.saved, said.step) == (10, 10)
    record("step", step=11, steps=30)
    record("done", step=30)
    line = "Done. The checkpoint of step 20 was damaged, so it went on from step 10."
    assert watcher.view(job.id).line == line
    record("anew")
    assert "damaged" not in watcher.view(job.id).line
