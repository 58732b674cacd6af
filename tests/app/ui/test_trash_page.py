"""What a click would lose is asked for, said, and taken back, in a real browser over a real training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.states import ENDED
from app.jobs.store import TRAIN, NewJob, Store
from app.jobs.trash.trash import Trash
from app.jobs.views import Watcher
from app.studio.paths import Paths
from app.studio.runs.links import RunLinks
from app.studio.studio_queue import StudioQueue
from tests.app.ui.ended_runs import write_run
from tests.app.ui.server import SLOWER_STEPS, Process
from tests.app.ui.visitor import Tab, open_tab, widest
from tests.trainers.tiny_runs import quick_settings, write_images
from tests.waiting import wait_until
from trainers.runs.run import Run

SETTLING = """async slot => {
  const controls = {link: '<a href="#here"></a>', stop: '<button data-do="stop"></button>',
    download: '<button data-fetch="numbers"></button>'};
  slot.innerHTML = Object.values(controls).join('');
  await new Promise(done => setTimeout(done));
  const acts = (node, detail) => {
    const click = new MouseEvent('click', {detail, bubbles: true, cancelable: true});
    let reached = false;
    node.addEventListener('click', event => { reached = true; event.stopPropagation(); event.preventDefault(); });
    node.dispatchEvent(click);
    return reached;
  };
  const [link, stop, download] = slot.children;
  return {link: acts(link, 1), key: acts(link, 0), stop: acts(stop, 1), download: acts(download, 1)};
}"""
"""Which clicks reach a button of a run right after its buttons have changed."""
LONG = {"name": "dusk", "train": {"steps": 50_000}, "save": {"every": 2}, "sample": {"every": 0}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path]) -> Iterator[tuple[Process, Store]]:
    """A studio that trains a run without end, beside a finished one."""
    folder = tmp_path_factory.mktemp("trash")
    process, store = Process(folder / "outputs", before=SLOWER_STEPS), Store(folder / "outputs")
    store.add(NewJob(TRAIN, write_run(store.runs, "inky", {"train": {"steps": 4, "warmup": 0}})), phase="ended")
    actions.add(store, quick_settings(tiny_bases["sd1"], write_images(folder / "images"), LONG), actor=MACHINE_OWNER)
    yield process, store
    process.close()


@pytest.fixture(scope="module")
def tab(browser: Any, place: tuple[Process, Store]) -> Iterator[Tab]:
    with open_tab(browser, place[0].url) as opened:
        yield opened


@pytest.fixture
def page(tab: Tab) -> Iterator[Any]:
    with tab.visit() as opened:
        yield opened


def chip(page: Any, words: str) -> Any:
    return page.get_by_role("status").get_by_text(words, exact=True)


def press(page: Any, label: str) -> None:
    page.get_by_role("button", name=label, exact=True).click()


def from_menu(page: Any, label: str) -> None:
    page.get_by_label("More actions").click()
    page.locator("#run-acts .menu").get_by_role("button", name=label, exact=True).click()


def test_cancelling_asks_first_and_leaves_a_way_on(page: Any, place: tuple[Process, Store]) -> None:
    process, store = place
    run = Run(store.runs / "dusk")
    page.goto(f"{process.url}run?id=dusk")
    chip(page, "Training").wait_for()
    page.wait_for_function("parseInt(document.querySelector('.facts')?.textContent.slice(5)) > 2")
    from_menu(page, "Stop without saving")
    asked = page.get_by_role("dialog", name="Stop dusk without saving?")
    asked.get_by_text("can be continued from there").wait_for()
    asked.get_by_role("button", name="Keep training").click()
    asked.wait_for(state="hidden")
    expect(chip(page, "Training")).to_be_visible()
    from_menu(page, "Stop without saving")
    asked.get_by_role("button", name="Stop without saving").click()
    chip(page, "Cancelled").wait_for()
    saved = run.checkpoint_steps()[-1]
    assert saved % 2 == 0
    page.get_by_text(f"Saved up to step {saved}.").wait_for()
    expect(page.locator(".go:visible")).to_have_text([f"Continue from {saved}"], use_inner_text=True)
    from_menu(page, "Restart from zero")
    page.get_by_role("dialog", name="Restart dusk from zero?").get_by_text("You can restore it for 30 days").wait_for()
    page.keyboard.press("Escape")
    # What loses nothing acts while the buttons settle.
    acts = page.locator("#run-acts .slot").first.evaluate(SETTLING)
    assert acts == {"link": False, "key": True, "stop": True, "download": True}


@pytest.fixture
def cancelled(place: tuple[Process, Store]) -> Run:
    """The run without end, which this or an earlier test has cancelled after a checkpoint."""
    store = place[1]
    run, number = Run(store.runs / "dusk"), store.job_in(store.runs / "dusk").id
    wait_until(run.checkpoint_steps, "there is no checkpoint")
    if Watcher(store).view(number).state not in ENDED:
        actions.stop(store, number, "cancel", actor=MACHINE_OWNER)
    wait_until(lambda: Watcher(store).view(number).state == "cancelled", "it does not end")
    return run


@pytest.mark.thorough
def test_a_restart_asks_first_and_is_undone(page: Any, place: tuple[Process, Store], cancelled: Run) -> None:
    process, run = place[0], cancelled
    before = (run.checkpoint_steps(), (run.folder / "events.jsonl").read_bytes())
    page.goto(f"{process.url}run?id=dusk")
    from_menu(page, "Restart from zero")
    asked = page.get_by_role("dialog", name="Restart dusk from zero?")
    asked.get_by_text("You can restore it for 30 days").wait_for()
    asked.get_by_role("button", name="Restart from zero").click()
    page.get_by_text("“dusk” starts from zero").wait_for()
    chip(page, "Training").wait_for()
    press(page, "Undo")
    page.get_by_text("“dusk” is back as it was.").wait_for()
    chip(page, "Cancelled").wait_for()
    assert (run.checkpoint_steps(), (run.folder / "events.jsonl").read_bytes()) == before
    page.get_by_text(f"Saved up to step {before[0][-1]}.").wait_for()


def test_what_is_deleted_comes_back_by_undo_and_from_the_trash(page: Any, place: tuple[Process, Store]) -> None:
    process, store = place
    page.goto(f"{process.url}run?id=inky")
    for way in ("undo", "trash"):
        from_menu(page, "Delete")
        page.get_by_text("“inky” was deleted.").wait_for()
        page.get_by_role("heading", name="There is no such run").wait_for()
        assert not (store.runs / "inky").exists()
        if way == "undo":
            press(page, "Undo")
            page.get_by_role("heading", name="inky").wait_for()
            queue = StudioQueue(Paths(process.out))
            RunLinks(queue).make(queue.find("inky"))
    page.goto(f"{process.url}runs")
    page.get_by_role("link", name="Trash ·").click()
    row = page.get_by_role("listitem").filter(has_text="inky")
    row.get_by_text("Run · deleted today").wait_for()
    row.get_by_text("its read-only link works again once it is restored").wait_for()
    assert widest(page) == []
    row.get_by_role("button", name="Restore inky").click()
    page.get_by_text("“inky” is back as it was. Its read-only link works again.").wait_for()
    row.wait_for(state="hidden")
    assert (store.runs / "inky" / "style" / "inky.safetensors").is_file()

    actions.delete(store, store.job_in(store.runs / "inky").id, actor=MACHINE_OWNER)
    page.reload()
    page.get_by_role("button", name="Empty now").click()
    asked = page.get_by_role("dialog", name="Empty the trash?")
    asked.get_by_role("button", name="Delete for good").click()
    page.get_by_role("heading", name="The trash is empty").wait_for()
    expect(page.locator("nav [aria-current]"), "where the trash is found").to_have_text(["Runs"], use_inner_text=True)
    assert Trash(store).items(MACHINE_OWNER) == []
