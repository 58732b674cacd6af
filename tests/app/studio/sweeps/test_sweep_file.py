from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.view import View
from app.jobs.views import Watcher
from app.studio.sweeps import sweep_file as sweep_files
from app.studio.sweeps.axes import Axis
from app.studio.sweeps.fold import Folded, fold
from app.studio.sweeps.plan import SweepPlan, plan_sweep
from app.studio.sweeps.sweep_file import (
    check_free,
    keep_run,
    list_sweeps,
    new_name,
    read_sweep,
    reference_of,
    sweep_file,
)
from app.studio.sweeps.sweeps import members, progress, start_sweep
from tests.app.studio.sweeps.made import write_ended_sweep
from tests.app.ui.ended_runs import write_run
from tests.app.user_files import write_pictures
from trainers.config.config import Config
from trainers.config.layers import gather_config
from trainers.errors import VelaturaError

pytestmark = pytest.mark.slow

RANKS = Axis(("method.rank",), (4, 8))


def test_a_sweep_is_read_as_it_was_written(store) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", RANKS)
    found = read_sweep(store.runs, "dusk")
    assert found == sweep and found.axes == (RANKS,) and found.kept == ""
    reference = reference_of(store.runs / "dusk-r4")
    assert reference is not None and (reference.sweep, reference.id) == ("dusk", sweep.id)
    keep_run(store.runs, found, "dusk-r8")
    assert read_sweep(store.runs, "dusk").kept == "dusk-r8"
    with pytest.raises(VelaturaError, match="other is not a run of the sweep dusk"):
        keep_run(store.runs, found, "other")
    with pytest.raises(VelaturaError, match="there is a sweep DUSK already"):
        check_free(store.runs, "DUSK")
    with pytest.raises(VelaturaError, match="there is no sweep"):
        read_sweep(store.runs, "../dusk")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 99}, "made by a newer Velatura"),
        ({"version": "new"}, "is damaged"),
        ({"version": float("inf")}, "is damaged"),
        ({"kept_axes": [], "runs": [{"name": "dusk", "values": []}]}, "is damaged"),
        ({"kept_axes": [{"keys": [], "values": []}]}, "is damaged"),
        ({"runs": []}, "is damaged"),
        ({"name": "other"}, "is damaged"),
        ({"kept_axes": []}, "is damaged"),
        ({"runs": 3}, "is damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_and_hides_no_other(store, change: dict, said: str) -> None:
    write_ended_sweep(store.runs, "dusk", RANKS)
    write_ended_sweep(store.runs, "dawn", RANKS)
    place = sweep_file(store.runs, "dusk")
    place.write_text(json.dumps(json.loads(place.read_text("utf-8")) | change), encoding="utf-8")
    with pytest.raises(VelaturaError, match=said):
        read_sweep(store.runs, "dusk")
    found, problems = list_sweeps(store.runs)
    assert [sweep.name for sweep in found] == ["dawn"] and len(problems) == 1
    views = Watcher(store).history()  # its runs are shown one by one
    assert {item.sweep.name if isinstance(item, Folded) else item.job.name for item in fold(store.runs, views)} == {
        "dawn", "dusk-r4", "dusk-r8",
    }  # fmt: skip


def test_a_run_of_the_same_name_is_not_taken_for_a_run_of_the_sweep(store, tmp_path: Path) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", RANKS)
    (store.runs / "dusk-r4").rename(tmp_path / "away")
    found = members(sweep, Watcher(store).history())
    assert found[0].view is None and "not there any more" in found[0].problem
    assert str(progress(found).line) == "1 of 2 done, 1 deleted"
    write_run(store.runs, "dusk-r4")
    found = members(sweep, Watcher(store).history())
    assert found[0].view is None and "another run by now" in found[0].problem
    items = fold(store.runs, Watcher(store).history())
    assert sorted(type(item).__name__ for item in items) == ["Folded", "View"]


def test_a_folded_sweep_has_all_of_its_runs_whichever_are_shown(store) -> None:
    write_ended_sweep(store.runs, "dusk", RANKS)
    views = Watcher(store).history()
    (item,) = fold(store.runs, views[:1], views)
    assert isinstance(item, Folded) and [member.view is None for member in item.members] == [False, False]


def test_the_queue_goes_through_its_runs_once_for_all_sweeps(store) -> None:
    for name in ("dusk", "dawn", "noon"):
        write_ended_sweep(store.runs, name, RANKS)
    rounds: list[str] = []

    class Counted(list[View]):
        def __iter__(self) -> Iterator[View]:
            rounds.append("one")
            return super().__iter__()

    views = Watcher(store).history()
    items = fold(store.runs, views, Counted(views))
    assert len(rounds) == 1 and [len(item.members) for item in items if isinstance(item, Folded)] == [2, 2, 2]


def test_a_list_looks_at_the_folder_once(store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dusk", "dawn", "noon"):
        write_ended_sweep(store.runs, name, RANKS)
    looks: list[Path] = []
    look = sweep_files._files
    monkeypatch.setattr(sweep_files, "_files", lambda runs: looks.append(runs) or look(runs))
    assert len(list_sweeps(store.runs)[0]) == 3 and len(looks) == 1


def test_of_two_starts_at_once_under_one_name_one_is_refused(store, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    images = write_pictures(tmp_path / "images", "fox.png")

    def plan(axis: Axis) -> SweepPlan:
        def make(_method: str | None, more: Mapping[str, Any]) -> Config:
            return gather_config(None, "lora", {"images": images, **more}, [])

        return plan_sweep("dusk", [axis], make, store.runs)

    other = plan(Axis(("seed",), (1, 2)))

    def meanwhile(folder: Path) -> None:
        monkeypatch.undo()
        if folder.name == "dusk-r4":
            start_sweep(store, other, actor=MACHINE_OWNER)

    with pytest.raises(VelaturaError, match="there is a sweep dusk already"):
        start_sweep(store, plan(RANKS), actor=MACHINE_OWNER, prepared=meanwhile)
    assert [run.name for run in read_sweep(store.runs, "dusk").runs] == ["dusk-s1", "dusk-s2"]
    assert [job.name for job in store.line()] == ["dusk-s1", "dusk-s2"] and not (store.runs / "dusk-r4").exists()


def test_a_folder_in_which_no_sweep_can_be_written_is_said(store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(sweep_files, "FileLock", refused)
    with pytest.raises(VelaturaError, match="no permission to write"), new_name(store.runs, "dusk"):
        pass
