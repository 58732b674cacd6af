"""The strip brings back what its owner has deleted, and says why it does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.trash.trash import Trash
from app.studio.studio_queue import StudioQueue
from app.ui.components.undo_strip import UndoStrip, UndoWanted, describe
from tests.app.ui.ended_runs import write_run


def test_a_deleted_run_comes_back_once_for_its_owner_alone(queue: StudioQueue) -> None:
    write_run(queue.store.runs, "harbour")
    item = queue.delete(queue.number("harbour", actor=MACHINE_OWNER), actor=MACHINE_OWNER)
    assert item is not None and describe(item) == "“harbour” was deleted."
    strip, wanted = UndoStrip(queue), UndoWanted(about=item.id)
    bob: Any = SimpleNamespace(username="bob", cookies={}, session_hash="")
    nobody: Any = SimpleNamespace(username=None, cookies={}, session_hash="")
    assert "belongs to" in strip.on_undone(wanted, bob)["problem"]
    assert [each.id for each in Trash(queue.store).items(MACHINE_OWNER)] == [item.id]
    assert strip.on_undone(wanted, nobody) == {"about": item.id, "text": "“harbour” is back as it was."}
    assert (queue.store.runs / "harbour" / "config.toml").is_file()
    assert strip.on_undone(wanted, nobody)["problem"] == "This is no longer in the trash."
