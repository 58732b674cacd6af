"""Read-only links: one for a run, ended for good, never for a later run of the same name."""

from __future__ import annotations

import shutil

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


def test_a_damaged_file_holds_no_links(queue: StudioQueue) -> None:
    write_run(queue.store.runs, "harbour")
    links, view = RunLinks(queue), queue.find("harbour")
    for text in ("", "[]", '{"x": 1}', '{"x": {"run": "harbour"}}', "\udcff"):
        (queue.paths.root / "links.json").write_text(text, encoding="utf-8", errors="surrogateescape")
        assert links.find("x") is None and links.token_of(view) == ""
    assert links.find(links.make(view)) is not None
