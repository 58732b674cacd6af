"""What buttons and handles of the pages about runs ask for, as the queue carries it out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr
import pytest

from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.states import State
from app.jobs.store import TRAIN, NewJob
from app.studio.queue import Queue
from app.ui.components.controls import Button
from app.ui.runs.actions import find_controls, perform
from tests.app.ui.ended_runs import write_run


@pytest.fixture
def queue(queue: Queue) -> Queue:
    """The queue, with four runs that wait."""
    for name in "abcd":
        queue.store.add(NewJob(TRAIN, write_run(queue.store.runs, name, {"train": {"steps": 4, "warmup": 0}})))
    return queue


def ask(queue: Queue, actor: Actor = MACHINE_OWNER, **said: Any) -> str:
    return perform(queue, gr.EventData(None, said), actor).notice


def line(queue: Queue) -> str:
    return "".join(job.name for job in queue.store.line())


@pytest.mark.parametrize(("run", "over", "then"), [("a", "c", "bcad"), ("d", "b", "adbc"), ("b", "b", "abcd")])
def test_a_run_takes_the_place_of_the_one_it_is_dropped_on(queue, run, over, then):
    assert ask(queue, what="place", run=run, over=over) == "" and line(queue) == then


def test_dropped_on_what_has_left_the_line_it_comes_first(queue):
    assert queue.store.end(queue.store.job_in(queue.store.runs / "a"))
    assert ask(queue, what="place", run="d", over="a") == "" and line(queue) == "dbc"
    assert ask(queue, what="place", run="c", over="<none>") == "" and line(queue) == "cdb"
    assert "cannot be moved: it has already finished" in ask(queue, what="place", run="a", over="b")
    assert "there is no run &lt;none&gt; any more" in ask(queue, what="place", run="<none>", over="b").lower()
    assert line(queue) == "cdb"


@pytest.mark.parametrize(
    ("state", "step", "saved", "note"),
    [
        (State.TRAINING, 22, 16, "The last 6 of 22 steps will be lost. It was saved at step 16"),
        (State.SAMPLING, 22, 0, "all 22 steps will be lost"),
        (State.STOPPING, 16, 16, "It was saved at step 16 and can be continued from there."),
        (State.TRAINING, 0, 0, ""),
        (State.QUEUED, 22, 16, ""),
    ],
)
def test_what_cancelling_loses_is_asked_before(queue, state, step, saved, note):
    view = queue.run("a")
    view = replace(view, state=state, actions=("cancel",), summary=replace(view.summary, step=step, saved=saved))
    (cancel,) = find_controls(view, MACHINE_OWNER)
    assert isinstance(cancel, Button) and note in cancel.note and bool(cancel.note) == bool(note)
