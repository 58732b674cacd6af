"""A run's page: when it looks, and which buttons its head has."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.states import State, actions_for
from app.jobs.store import TRAIN, NewJob
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary
from app.ui.components.controls import Link
from app.ui.runs.head_view import read_head
from app.ui.runs.run import RunPage
from tests.app.ui.ended_runs import write_run


@pytest.mark.parametrize(
    ("state", "filled", "labels"),
    [
        (State.HANGING, ["Stop now"], ["Stop now", "Download samples"]),
        (State.PAUSED, ["Continue"], ["Continue", "Download style", "Stop and save"]),
        (State.TRAINING, [], ["Stop and save", "Pause"]),
    ],
)
def test_what_helps_comes_first_and_is_filled(
    queue: StudioQueue, state: State, filled: list[str], labels: list[str]
) -> None:
    queue.store.add(NewJob(TRAIN, write_run(queue.store.runs, "a")))
    view = queue.run("a")
    assert view is not None
    view = replace(view, state=state, actions=actions_for(view.job, state, 200))
    buttons = [each for each in read_head(view, True, "", MACHINE_OWNER).controls if not isinstance(each, Link)]
    assert [each.label for each in buttons][: len(labels)] == labels
    assert [each.label for each in buttons if each.kind == "go"] == filled


def test_nothing_is_looked_at_before_it_is_known_which_run_is_meant(queue: StudioQueue) -> None:
    """Else a page that opens on a busy machine says that there is no such run."""
    with gr.Blocks():
        page = RunPage(queue, StyleLibrary(queue))
    assert page.open(SimpleNamespace(query_params={"id": "a"})) == "a"
    assert page.poller.ticker.value == "0"
