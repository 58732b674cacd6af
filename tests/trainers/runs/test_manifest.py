from __future__ import annotations

import json

from trainers.runs.events import Recorder
from trainers.runs.manifest import FILE, check_images
from trainers.runs.run import Run


def test_a_record_of_the_images_that_cannot_be_read_is_written_anew(tmp_path):
    run = Run(tmp_path)
    run.dataset.mkdir()
    (run.dataset / "0001.txt").write_text("a fox")
    (tmp_path / FILE).write_text("[" * 200_000)
    check_images(run, Recorder(tmp_path), accept=False)
    assert list(json.loads((tmp_path / FILE).read_text())) == ["0001.txt"]
