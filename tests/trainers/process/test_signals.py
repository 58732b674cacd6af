"""Ctrl-C and SIGTERM: an orderly end in the loop, nothing left behind before it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.pairs import seldom_but
from tests.trainers.processes import training_process, wait_for
from tests.trainers.tiny_runs import equal, events_of, style_metadata, style_tensors
from trainers.process.signals import asking_to_stop
from trainers.runs.events import Event, Listener
from trainers.runs.run import Run
from trainers.training.train import resume, train

pytestmark = pytest.mark.usefixtures("quick_runs")


@pytest.mark.thorough  # the next one sends it to its own process
@pytest.mark.process
def test_sigterm_ends_a_run_after_its_step_with_everything_saved(quick, tmp_path):
    config = quick({"train": {"steps": 5000}, "save": {"every": 5000}})
    run = Run(tmp_path / "runs" / "dusk")
    with training_process(config, tmp_path / "runs") as process:
        wait_for("step", 2, run, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, process.printed()
    (stopped,) = events_of(run, "stopped")
    done = stopped["step"]
    assert 2 <= done < 5000 and run.checkpoint_steps() == [done]
    assert len(events_of(run, "step")) == done
    assert style_metadata(run.style / "dusk.safetensors")["ss_steps"] == str(done)
    assert any("stopped at step" in event["message"] for event in events_of(run, "note"))
    result = resume(run, steps=done + 1)
    assert (result.steps, result.stopped_by) == (done + 1, "") and result.grid is not None


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("number", seldom_but((signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)))
def test_a_signal_ends_a_run_after_its_step_with_everything_saved_and_a_second_one_at_once(quick, tmp_path, number):
    config = quick({"train": {"steps": 4}, "save": {"every": 4}})
    before = signal.getsignal(number)
    if before == signal.SIG_IGN:  # SIGHUP where the tests run under nohup
        before = signal.SIG_DFL
        signal.signal(number, before)

    def interrupting(times: int) -> Listener:
        def listen(event: Event) -> None:
            if event["type"] == "step" and event["step"] == 2:
                for _ in range(times):
                    os.kill(os.getpid(), number)

        return listen

    once = train(config, tmp_path / "once", listener=interrupting(1))
    run = Run(once.run)
    assert (once.steps, once.stopped_by) == (2, number.name) and run.checkpoint_steps() == [2]
    assert style_metadata(once.style)["ss_steps"] == "2" and len(events_of(run, "step")) == 2
    assert any("stopped at step 2" in event["message"] for event in events_of(run, "note"))
    assert equal(style_tensors(resume(run).style), style_tensors(train(config, tmp_path / "whole").style))
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "twice", listener=interrupting(2))
    assert Run(tmp_path / "twice" / "dusk").checkpoint_steps() == []
    assert signal.getsignal(number) == before


def test_sigterm_during_the_preparation_leaves_nothing(quick, tmp_path):
    def fail(event: dict[str, Any]) -> None:
        if event["type"] == "images":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(quick(), tmp_path / "runs", listener=fail)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_closed_terminal_is_still_ignored_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asked: list[str] = []
        with asking_to_stop(lambda name: bool(asked.append(name))):
            os.kill(os.getpid(), signal.SIGHUP)
        assert asked == [] and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
