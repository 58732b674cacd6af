"""Who may do what with whose runs: refused in one sentence, with nothing changed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import app
from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER, Actor, NotOwnerError
from app.jobs.store import TRAIN, NewJob, Store
from tests.app.jobs.working import line
from tests.app.ui.ended_runs import write_run
from trainers.runs.events import Recorder

ANN, BEN = Actor("ann"), Actor("ben")
SHORT = {"train": {"steps": 4, "warmup": 0}}
ACTOR = re.compile(r"\bactor: [^,=]+(=)?")
"""An argument of a function, and whether it may be left out."""


@pytest.fixture
def ended(store: Store) -> int:
    """A finished run of Ann's."""
    folder = write_run(store.runs, "dusk", SHORT)
    return store.add(NewJob(TRAIN, folder, owner="ann"), phase="ended").id


@pytest.fixture
def waiting(store: Store) -> int:
    """A run of Ann's in line."""
    return store.add(NewJob(TRAIN, write_run(store.runs, "dawn", SHORT), owner="ann")).id


def contents(store: Store) -> dict[str, bytes]:
    """Every file of the runs, and every row."""
    files = {
        str(path): path.read_bytes() for path in store.runs.rglob("*") if path.is_file() and "queue" not in path.name
    }
    return files | {"rows": repr(store.jobs()).encode()}


def test_ownership_is_by_name_and_the_machines_owner_has_all():
    assert [actor.may_change("ann") for actor in (ANN, BEN, MACHINE_OWNER)] == [True, False, True]
    assert [actor.may_change("") for actor in (ANN, BEN, MACHINE_OWNER)] == [False, False, True]
    assert BEN.permitted("ann", ("resume", "clone", "delete")) == ("clone",)
    assert ANN.permitted("ann", ("resume", "clone")) == ("resume", "clone")
    with pytest.raises(NotOwnerError, match="“dusk” belongs to the owner of this studio, and only they can change it"):
        BEN.check("dusk", "")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("resume", {"steps": 9}),
        ("delete", {}),
        ("retry", {}),
        ("stop", {"how": "cancel"}),
        ("preempt", {"first": 1}),
        ("give", {"owner": "ben"}),
    ],
)
def test_a_run_that_has_ended_is_changed_by_nobody_else(store, ended, name, given):
    before = contents(store)
    with pytest.raises(NotOwnerError, match="“dusk” belongs to ann, and only they can change it"):
        getattr(actions, name)(store, ended, **given, actor=BEN)
    assert contents(store) == before


@pytest.mark.parametrize(
    ("name", "given"), [("stop", {"how": "cancel"}), ("move", {"where": "last"}), ("change", {"changes": {"seed": 3}})]
)
def test_a_run_in_line_is_changed_by_nobody_else(store, waiting, name, given):
    before = contents(store)
    with pytest.raises(NotOwnerError, match="“dawn” belongs to ann, and only they can change it"):
        getattr(actions, name)(store, waiting, **given, actor=BEN)
    assert contents(store) == before
    getattr(actions, name)(store, waiting, **given, actor=ANN)


def test_a_run_without_an_owner_is_the_machine_owners(store):
    folder = write_run(store.runs, "old", SHORT)
    with pytest.raises(NotOwnerError, match="“old” belongs to the owner of this studio"):
        actions.adopt(store, folder, actor=BEN)
    assert not store.exists()
    assert actions.adopt(store, folder, actor=MACHINE_OWNER).owner == ""


def test_what_ended_is_cleared_of_ones_own_alone(store, ended):
    own = store.add(NewJob(TRAIN, write_run(store.runs, "mine", SHORT), owner="ben"), phase="ended")
    assert [job.id for job in actions.clear(store, actor=BEN)] == [own.id]
    assert [job.id for job in store.jobs()] == [ended]


def test_nobody_is_moved_past(store):
    numbers = {}
    for name, owner in (("a", "ben"), ("b", "ann"), ("c", "ben"), ("d", "ben")):
        numbers[name] = store.add(NewJob(TRAIN, write_run(store.runs, name, SHORT), owner=owner)).id
    for where in ("first", 2, "1"):
        with pytest.raises(NotOwnerError, match="“b” belongs to ann; you can only move a run past your own"):
            actions.move(store, numbers["d"], where, actor=BEN)
        assert line(store) == ["a", "b", "c", "d"]
    actions.move(store, numbers["d"], "up", actor=BEN)
    assert line(store) == ["a", "b", "d", "c"]
    actions.move(store, numbers["a"], "last", actor=BEN)  # who stands back takes nothing from anybody
    assert line(store) == ["b", "d", "c", "a"]


def test_a_clone_is_its_makers_and_has_no_more_priority_than_theirs(store, quick):
    job = actions.add(store, quick("dusk"), owner="ann", priority=5, actor=MACHINE_OWNER)
    actions.stop(store, job.id, "cancel", actor=ANN)
    cloned = actions.clone(store, job.id, actor=BEN)
    assert (cloned.owner, cloned.priority) == ("ben", 0)
    again = actions.clone(store, job.id, actor=ANN)
    assert (again.owner, again.priority) == ("ann", 5)


def test_a_paused_run_goes_on_before_its_owners_others_and_passes_nobody(store, quick):
    paused = actions.add(store, quick("paused"), owner="ben", actor=MACHINE_OWNER)
    assert store.end(paused)
    Recorder(paused.folder)("paused", step=1)
    for name, owner in (("a", "ben"), ("b", "ann"), ("c", "ben")):
        store.add(NewJob(TRAIN, write_run(store.runs, name, SHORT), owner=owner))
    actions.resume(store, paused.id, actor=BEN)
    assert line(store) == ["a", "b", "paused", "c"]


def test_nobody_gets_the_rights_of_the_machines_owner_by_leaving_out_the_actor():
    """Whoever has none to name is refused by Python and by mypy."""
    taking, optional = [], []
    for path in sorted(Path(app.__path__[0]).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (found := ACTOR.search(ast.unparse(node.args))):
                taking.append(node.name)
                optional += [f"{path.name}:{node.lineno} {node.name}"] if found[1] else []
    assert optional == [] and {"add", "adopt", "restore", "bring_back", "items", "empty", "remove"} <= set(taking)
