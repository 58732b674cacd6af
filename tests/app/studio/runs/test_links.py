"""Read-only links: one for a run, ended for good, never for a later run of the same name."""

from __future__ import annotations

import shutil

from app.jobs.actions import restore
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.trash.trash import TrashItem
from app.studio.runs.links import RunLinks
from app.studio.studio_queue import StudioQueue
from tests.app.ui.ended_runs import write_run


def test_a_run_has_one_link_until_it_is_ended(queue: StudioQueue) -> None:
    for name in ("harbour", "kitchen"):
        write_run(queue.store.runs, name)
    links, view, other = RunLinks(queue), queue.find("harbour"), queue.find("kitchen")
    assert links.token_of(view) == "" and links.find("") is None
    token = links.make(view)
    assert len(token) == 22 and links.make(view) == links.token_of(view) == token
    assert links.make(other) != token
    found = RunLinks(queue).find(token)
    assert found is not None and found.job.name == "harbour"
    links.end(view)
    links.end(view)
    assert links.find(token) is None and links.token_of(view) == "" and links.token_of(other)
    assert links.make(view) != token, "an ended link never comes back"


def test_a_link_does_not_show_a_later_run_of_the_same_name(queue: StudioQueue) -> None:
    write_run(queue.store.runs, "harbour")
    links = RunLinks(queue)
    token = links.make(queue.find("harbour"))
    folder = queue.store.runs / "harbour"
    shutil.move(folder, queue.store.runs / "elsewhere")
    assert links.find(token) is None
    write_run(queue.store.runs, "harbour")
    assert links.find(token) is None


def _delete(queue: StudioQueue, name: str) -> TrashItem:
    item = queue.delete(queue.number(name, actor=MACHINE_OWNER), actor=MACHINE_OWNER)
    assert item is not None
    return item


def test_a_link_of_a_run_in_the_trash_is_known_and_works_again_only_under_its_name(queue: StudioQueue) -> None:
    links = RunLinks(queue)
    for name in ("harbour", "kitchen"):
        write_run(queue.store.runs, name)
    token = links.make(queue.find("harbour"))
    items = [_delete(queue, name) for name in ("harbour", "kitchen")]
    assert [links.is_kept(item) for item in items] == [True, False] and links.find(token) is None
    write_run(queue.store.runs, "harbour")
    assert restore(queue.store, items[0].id, actor=MACHINE_OWNER) == "harbour-2"
    assert links.find(token) is None, "another name, another run"
    assert not links.is_kept(_delete(queue, "harbour")), "of the same name, but not the one that was shared"


def test_a_damaged_file_holds_no_links(queue: StudioQueue) -> None:
    write_run(queue.store.runs, "harbour")
    links, view = RunLinks(queue), queue.find("harbour")
    for text in ("", "[]", '{"x": 1}', '{"x": {"run": "harbour"}}', "\udcff"):
        (queue.paths.root / "links.json").write_text(text, encoding="utf-8", errors="surrogateescape")
        assert links.find("x") is None and links.token_of(view) == ""
    assert links.find(links.make(view)) is not None
