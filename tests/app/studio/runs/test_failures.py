"""A run that has failed says in plain words what was wrong, and offers the change that helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import sentence
from app.jobs import actions
from app.jobs.events.summary import Summary
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.states import State
from app.jobs.store import Store
from app.jobs.view import View
from app.jobs.views import Watcher
from app.studio.runs.failures import ACCEPT, CHANGE, GO_ON, HALF, LOW, changes, failure_of, offer
from app.ui.components.runs.text import line
from app.ui.runs.actions import make_control
from tests.trainers.tiny_runs import quick_settings, write_images
from trainers.runs.run import Run, write_config

RAN_AWAY = "not numbers 5 steps in a row, up to step 8; the checkpoint of step 2 is kept. Lower train.learning_rate"


@pytest.fixture
def view(tmp_path: Path, tiny_bases: dict[str, Path]) -> View:
    """A run that trains with two pictures at a time."""
    store = Store(tmp_path / "outputs")
    config = quick_settings(tiny_bases["sd1"], write_images(tmp_path / "images"), {"train": {"batch_size": 2}})
    return Watcher(store).view(actions.add(store, config, actor=MACHINE_OWNER).id)


def failed(view: View, sentence: str, step: int = 0, saved: int = 0, code: str = "") -> View:
    summary = replace(view.summary, step=step, saved=saved, code=code)
    return replace(view, state=State.FAILED, line=sentence, summary=summary)


def test_what_goes_on_says_what_it_says(view):
    assert line(view) == view.line == "1st in line." and offer(view) == ""


def test_numbers_that_ran_away(view):
    lost = failed(view, RAN_AWAY, 8, 2)
    assert line(lost) == (
        "The loss diverged at step 8; what it had learned up to step 2 is kept. "
        "Halving the learning rate usually helps."
    )
    assert offer(lost) == HALF and changes(HALF, lost) == {"train": {"learning_rate": 0.005}}
    assert "nothing had been saved yet" in line(failed(view, RAN_AWAY, 8))


def test_numbers_that_ran_away_with_half_the_rate_too_get_a_quarter(view):
    lost = failed(view, RAN_AWAY, 8)
    again = replace(lost, summary=replace(lost.summary, rollback=(5, 0)))
    assert offer(again) == HALF and changes(HALF, again) == {"train": {"learning_rate": 0.0025}}
    assert line(again) == (
        "The loss diverged at step 8; nothing had been saved yet. "
        "It diverged with half the learning rate, too; a quarter usually helps."
    )
    assert [make_control(each, HALF).label for each in (lost, again)] == [
        "Try again with half the learning rate",
        "Try again with a quarter of the learning rate",
    ]


def test_settings_that_the_base_refuses_are_to_be_changed(view):
    assert offer(failed(view, "the pattern 'x' matches no layer of unet", code="refused")) == CHANGE


def test_low_memory_is_offered_where_it_is_less(view):
    full = failed(view, sentence(MemoryError()), 12)
    assert line(full).startswith("There was not enough memory at step 12. Low memory needs less")
    assert offer(full) == LOW
    run = Run(view.job.folder)
    low = changes(LOW, full)
    assert low is not None
    write_config(run, run.config().model_copy(update={"train": run.config().train.model_copy(update=low["train"])}))
    assert offer(full) == CHANGE and "a lower resolution" in line(full)


def test_a_full_disk_and_what_nobody_has_foreseen(view):
    full = failed(view, "the disk is full: no room to write under checkpoints", 30, 20)
    assert line(full) == (
        "The disk was full at step 30. Free some space, for example by deleting old runs, and try again. "
        "It can continue from step 20."
    )
    assert offer(full) == GO_ON and offer(failed(view, full.line)) == ""
    odd = failed(view, sentence(KeyError("x")))
    assert line(odd) == "Something unexpected went wrong. Details shows what."
    assert line(failed(view, "the base is gone")) == "The base is gone." and offer(odd) == CHANGE


def test_the_code_of_an_event_says_more_than_its_words(view):
    assert failure_of(failed(view, "odd", code="diverged")) == "diverged"
    assert line(failed(view, "CUDA error 2", 12, code="out_of_memory")).startswith(
        "There was not enough memory at step 12"
    )
    assert failure_of(failed(view, sentence(MemoryError()), code="unexpected")) == "unexpected"
    assert failure_of(view) == ""


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"cause": "memory"}, "out_of_memory"), ({"code": "disk_full"}, "disk_full"), ({}, "")],
)
def test_events_of_older_versions_say_when_memory_was_short(fields, code):
    assert Summary().after([{"type": "error", "message": "it broke", "time": 1.0, **fields}]).code == code


def test_images_that_changed_can_be_accepted(view):
    lost = failed(view, "the images of dusk are not those that it has trained on (gone: a.png)", 4, 2, "changed_images")
    assert offer(lost) == ACCEPT
