"""The list of runs: found by what people wrote, and sorted."""

from __future__ import annotations

import re

import pytest

from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import TRAIN, NewJob
from app.studio.runs.notes import write_notes
from app.studio.studio_queue import StudioQueue
from app.ui.components.pagination import ListChoice
from app.ui.runs.list import listing
from tests.app.ui.ended_runs import write_run


@pytest.fixture
def page(queue: StudioQueue) -> StudioQueue:
    """Three ended runs, the largest in the middle, and one that waits."""
    for name, size in (("Berlin", 10), ("autumn", 500_000), ("cloud", 2000)):
        folder = write_run(queue.store.runs, name, {"train": {"steps": 4, "warmup": 0}})
        (folder / "extra").write_bytes(b"x" * size)
        queue.store.add(NewJob(TRAIN, folder), phase="ended")
    queue.store.add(NewJob(TRAIN, write_run(queue.store.runs, "waiting", {"train": {"steps": 4, "warmup": 0}})))
    write_notes(queue.store.runs / "cloud", "too strong <b>", "blue, to compare")
    return queue


def shown(queue: StudioQueue, **choice: str) -> list[str]:
    return re.findall(r'<li data-key="([^"]+)"', listing(queue, queue.look(), ListChoice(**choice), MACHINE_OWNER))


def test_runs_are_found_by_name_note_and_tag(page):
    for search, names in (
        ("STRONG", ["cloud"]),
        ("#blue", ["cloud"]),
        ("berl", ["Berlin"]),
        ("blue  strong", ["cloud"]),
        ("green", []),
    ):
        assert shown(page, search=search) == names, search
    html = str(listing(page, page.look(), ListChoice(), MACHINE_OWNER))
    assert "<small>too strong &lt;b&gt; #blue #to compare</small>" in html and html.count(" kB</small>") == 4


def test_runs_are_sorted_by_time_name_or_size_and_moved_only_in_their_own_order(page):
    assert shown(page) == ["waiting", "cloud", "autumn", "Berlin"]
    assert shown(page, sort="name") == ["autumn", "Berlin", "cloud", "waiting"]
    assert shown(page, sort="size")[0] == "autumn"
    for sort, movable in (("newest", True), ("name", False), ("size", False)):
        html = listing(page, page.look(), ListChoice(sort=sort), MACHINE_OWNER)
        assert ('class="handle"' in html) is movable, sort
