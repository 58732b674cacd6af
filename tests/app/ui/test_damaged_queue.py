"""A queue that was damaged while the studio was off: said on its pages, and made anew with a button of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import TRAIN, NewJob, Store
from app.ui.components import text as shared
from app.ui.runs import text as words
from tests.app.jobs.test_repair import damage
from tests.app.ui.ended_runs import write_run
from tests.app.ui.server import Process
from tests.app.ui.visitor import visiting, widest
from tests.trainers.tiny_runs import quick_settings, write_images

LONG = {"name": "dusk", "train": {"steps": 50_000}, "save": {"every": 0}, "sample": {"every": 0}}


@pytest.mark.thorough
@pytest.mark.parametrize("fresh", [False, True])
def test_a_damaged_queue_is_repaired_from_its_page(
    browser: Any, tmp_path: Path, tiny_bases: dict[str, Path], fresh: bool
) -> None:
    """Also with a studio and a job that import everything themselves, as those of people do."""
    store = Store(tmp_path / "outputs")
    store.runs.mkdir()
    store.add(NewJob(TRAIN, write_run(store.runs, "inky", {"train": {"steps": 4, "warmup": 0}})), phase="ended")
    settings = quick_settings(tiny_bases["sd1"], write_images(tmp_path / "images"), LONG)
    actions.add(store, settings, actor=MACHINE_OWNER)
    damaged = damage(store)
    process = Process(store.runs, fresh=fresh)
    try:
        with visiting(browser, process.url) as page:
            _repaired(page, process)
        assert (store.runs / "queue.damaged-1.db").read_bytes() == damaged
        assert {job.name: job.phase for job in store.jobs()} == {"dusk": "running", "inky": "ended"}
    finally:
        process.stop()
        for job in store.active():
            job.process.kill()


def _repaired(page: Any, process: Process) -> None:
    # The bar looks by itself every 500 ms; without that, it only looks where it is told to.
    page.add_init_script(
        "const every = setInterval; setInterval = (f, ms, ...more) => ms === 500 ? 0 : every(f, ms, ...more)"
    )
    page.goto(f"{process.url}runs")
    said = page.get_by_role("status").filter(has_text=words.QUEUE_DAMAGED)
    expect(said).to_be_visible()
    expect(page.get_by_role("link", name=shared.QUEUE_PROBLEM)).to_be_visible()
    for name in ("inky", "dusk"):
        expect(page.get_by_role("listitem").filter(has_text=name)).to_be_visible()
    assert widest(page) == []
    page.get_by_role("button", name=words.REPAIR).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="queue.damaged-1.db")).to_be_visible()
    expect(said).to_have_count(0)
    expect(page.get_by_role("link", name=shared.QUEUE_PROBLEM)).to_have_count(0)
    expect(page.get_by_role("listitem").filter(has_text="inky").get_by_text("Finished")).to_be_visible()
    # What had waited begins by itself.
    expect(page.get_by_role("listitem").filter(has_text="dusk").get_by_text("Training", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="dusk: ")).to_be_visible()
