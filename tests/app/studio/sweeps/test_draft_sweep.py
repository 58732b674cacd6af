from __future__ import annotations

import pytest

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER, Actor, NotOwnerError
from app.studio.dataset.uploads import take_folder
from app.studio.runs.estimates import Measured
from app.studio.runs.origin import read_origin
from app.studio.settings.plan import choose, with_choices
from app.studio.sweeps.draft_sweep import free_sweep_name, method_seconds, start_method_sweep, suggested_methods
from app.studio.sweeps.sweeps import continue_sweep, end_sweep, move_sweep
from tests.trainers.tiny_runs import write_images
from trainers.errors import VelaturaError
from trainers.runs.run import Run


@pytest.fixture
def draft(drafts, anonymous, tmp_path):
    take_folder(drafts, anonymous, write_images(tmp_path / "images"))
    return drafts.change(anonymous, lambda now: now.with_(name="dusk"))


def test_each_method_is_a_run_of_the_same_pictures(queue, drafts, draft) -> None:
    sweep = start_method_sweep(queue, drafts, draft, ["lora", "lokr"], MACHINE_OWNER)
    runs = [Run(queue.store.runs / name) for name in ("dusk-lora", "dusk-lokr")]
    assert [job.name for job in queue.store.line()] == [run.folder.name for run in runs]
    assert [run.config().method.name for run in runs] == ["lora", "lokr"]
    assert len({path.stat().st_ino for run in runs for path in run.dataset.glob("0001*.png")}) == 1
    assert read_origin(runs[1].folder).preset == draft.choices.preset
    assert start_method_sweep(queue, drafts, draft, ["lora", "lokr"], MACHINE_OWNER).name == "dusk 2"
    assert sweep.name == "dusk" and free_sweep_name(queue.store.runs, "other") == "other"


def test_one_wrong_method_starts_none(queue, drafts, draft) -> None:
    for methods, said in (
        (["lora", "lorra"], "there is no method 'lorra'"),
        ([None, 5], "there is no method None"),
        (["lora"], "at least two runs"),
        ([], "method.name has no values"),
    ):
        with pytest.raises(VelaturaError, match=said):
            start_method_sweep(queue, drafts, draft, methods, MACHINE_OWNER)
    wrong = with_choices(draft, settings={"train.steps": 0})
    with pytest.raises(VelaturaError, match="2 of 2 runs are not valid: dusk-lora: "):
        start_method_sweep(queue, drafts, wrong, ["lora", "loha"], MACHINE_OWNER)
    assert not queue.store.exists() and not list(queue.store.runs.glob("dusk*"))


def test_the_drafts_own_method_is_among_the_suggested(drafts, draft) -> None:
    assert set(suggested_methods(draft)) == {"lora", "loha", "lokr"}
    assert suggested_methods(choose(draft, "method", "oft"))[0] == "oft"
    seconds = method_seconds(Measured(drafts.paths), draft)
    assert set(suggested_methods(draft)) <= set(seconds) and set(seconds.values()) == {None}


def test_a_run_that_was_given_away_keeps_the_others_from_nothing(queue, drafts, draft) -> None:
    ann, store = Actor("ann"), queue.store
    sweep = start_method_sweep(queue, drafts, draft, ["lora", "loha", "lokr"], ann)
    given = store.line()[0]
    actions.give(store, given.id, "bob", actor=MACHINE_OWNER)
    assert move_sweep(store, sweep, "last", actor=ann) == 2
    assert end_sweep(store, sweep, "save", actor=ann) == 2 and [job.name for job in store.line()] == [given.name]
    actions.stop(store, given.id, "cancel", actor=MACHINE_OWNER)
    assert continue_sweep(store, sweep, actor=ann) == 2
    with pytest.raises(NotOwnerError, match="belongs to bob"):
        continue_sweep(store, sweep, actor=ann)
    assert continue_sweep(store, sweep, actor=Actor("eve", is_admin=True)) == 1
