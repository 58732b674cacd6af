"""A run whose process is killed goes on, and has the bits of one that was not."""

from __future__ import annotations

import signal

import pytest

from tests.trainers.hurry import without_pictures
from tests.trainers.processes import training_process, wait_for
from tests.trainers.tiny_runs import equal, state_of, style_tensors
from trainers.runs.run import Run
from trainers.training.train import resume, train


# Without `quick_runs`: copies of a base lie elsewhere in memory than what is read from a file, which moves last digits.
# `tests/app/jobs/test_dispatcher.py` kills one in the queue, which goes on with the same code, and compares the bits.
@pytest.mark.thorough
@pytest.mark.process
def test_a_killed_run_goes_on_with_the_bits_of_an_uncut_one(quick, tmp_path):
    config = quick({"train": {"steps": 40, "ema": 0.9}, "save": {"every": 3}, "data": {"flip": True}})
    run = Run(tmp_path / "runs" / "dusk")
    with training_process(config, tmp_path / "runs") as process:
        wait_for("checkpoint", 3, run, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    assert 3 <= run.checkpoint_steps()[-1] < 40 and not run.style.exists()
    with without_pictures():
        again, whole = resume(run), train(config, tmp_path / "whole")
    assert equal(style_tensors(whole.style), style_tensors(again.style))
    assert equal(state_of(Run(whole.run), 40), state_of(run, 40))
