"""What buttons and handles of the pages about runs ask for, as the queue carries it out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER, Actor
from app.jobs.states import State, actions_for
from app.jobs.store import TRAIN, NewJob
from app.jobs.trash.trash import Trash
from app.studio.runs.links import RunLinks
from app.studio.studio_queue import StudioQueue
from app.ui.components.controls import Button, Link
from app.ui.runs.actions import find_controls, perform
from app.ui.runs.events import RunAction
from tests.app.ui.ended_runs import write_run

pytestmark = pytest.mark.slow


@pytest.fixture
def queue(queue: StudioQueue) -> StudioQueue:
    """The queue, with four runs that wait."""
    for name in "abcd":
        queue.store.add(NewJob(TRAIN, write_run(queue.store.runs, name, {"train": {"steps": 4, "warmup": 0}})))
    return queue


def ask(queue: StudioQueue, actor: Actor = MACHINE_OWNER, **said: Any) -> str:
    return perform(queue, RunAction(**said), actor).notice


def line(queue: StudioQueue) -> str:
    return "".join(job.name for job in queue.store.line())


@pytest.mark.parametrize(("run", "over", "then"), [("a", "c", "bcad"), ("d", "b", "adbc"), ("b", "b", "abcd")])
def test_a_run_takes_the_place_of_the_one_it_is_dropped_on(queue, run, over, then):
    assert ask(queue, what="place", about=run, over=over) == "" and line(queue) == then


def test_deleting_a_run_asks_nothing_since_it_can_be_undone(queue):
    queue.store.end(queue.store.job_in(queue.store.runs / "a"))
    (delete,) = (each for each in find_controls(queue.find("a"), MACHINE_OWNER) if each.label == "Delete")
    assert isinstance(delete, Button) and delete.note == ""
    assert ask(queue, what="delete", about="a") == "" and queue.run("a") is None
    (item,) = Trash(queue.store).recent(60)
    actions.restore(queue.store, item.id, actor=MACHINE_OWNER)
    assert queue.find("a").job.folder.is_dir()


def test_dropped_on_what_has_left_the_line_it_comes_first(queue):
    assert queue.store.end(queue.store.job_in(queue.store.runs / "a"))
    assert ask(queue, what="place", about="d", over="a") == "" and line(queue) == "dbc"
    assert ask(queue, what="place", about="c", over="<none>") == "" and line(queue) == "cdb"
    assert "cannot be moved: it has already finished" in ask(queue, what="place", about="a", over="b")
    assert "The run &lt;none&gt; no longer exists." in ask(queue, what="place", about="<none>", over="b")
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


@pytest.mark.parametrize("state", list(State))
def test_every_button_of_a_run_asks_for_what_the_page_understands(queue, state):
    view = queue.run("a")
    view = replace(view, state=state, actions=actions_for(view.job, state, 16))
    for control in find_controls(view, MACHINE_OWNER):
        assert isinstance(control, Link) or RunAction.model_validate({"what": control.do, "about": control.about})


def test_a_run_is_shared_by_a_link_until_its_owner_ends_it(queue):
    links, view = RunLinks(queue), queue.find("a")
    html = ask(queue, what="share", about="a")
    token = links.token_of(view)
    assert token and f'data-link="shared/{token}"' in html and 'data-do="unshare"' in html
    assert ask(queue, what="share", about="a") == html, "the same link again"
    assert "belongs to" in ask(queue, Actor("bob"), what="unshare", about="a") and links.token_of(view)
    assert "no longer shows this run" in ask(queue, what="unshare", about="a") and links.token_of(view) == ""
    assert "no longer exists" in ask(queue, what="share", about="../a")
