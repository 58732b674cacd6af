"""Fast hands on a bad line: answers come late and out of order, and in the end all have what was done last."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import Store
from app.studio.runs.chosen import starred_step
from tests.app.ui.ended_runs import write_run, write_snapshot
from tests.app.ui.server import MEASURED, SLOW_STEPS, Process
from tests.app.ui.slow_answers import SEED
from tests.app.ui.visitor import ALL_SENT, READY, Tab, open_tab, try_out
from tests.trainers.tiny_runs import quick_settings, write_images
from tests.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.thorough]

ROUNDS = 4
SHOWN = "[...document.querySelectorAll('.runs > li')].map(row => row.dataset.key)"
STARRED = "[...document.querySelectorAll('.cells .given')].map(one => +one.dataset.step)"
STAR = f"""() => {{
  const before = {STARRED};
  document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {{key: 's', bubbles: true}}));
  const after = {STARRED};
  return before.join() === after.join() ? null : after;
}}"""
"""Star a step; which one is shown to be starred then, before any answer comes. A star is taken away by the answer."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("line") / "outputs", before=SLOW_STEPS + MEASURED, **{SEED: "1"})
    yield process
    process.close()


@pytest.fixture(scope="module")
def tab(browser: Any, place: Process) -> Iterator[Tab]:
    with open_tab(browser, place.url) as opened:
        yield opened


@pytest.fixture
def page(tab: Tab) -> Iterator[Any]:
    with tab.visit() as opened:
        yield opened


@pytest.fixture
def draw() -> random.Random:
    return random.Random(7)


def pause(page: Any, milliseconds: int) -> None:
    """As long as a hand takes from one key to the next."""
    page.wait_for_timeout(milliseconds)


def test_the_line_and_its_search(page: Any, place: Process, tiny_bases: Any, tmp_path: Path, draw: Any) -> None:
    store, images, names = Store(place.out), write_images(tmp_path / "images"), ["one", "two", "three"]
    layers = ({"train": {"steps": 20_000}}, {"sample": {"every": 0}})
    jobs = [
        actions.add(store, quick_settings(tiny_bases["sd1"], images, {"name": name}, *layers), actor=MACHINE_OWNER)
        for name in ("going", *names)
    ]
    page.goto(f"{place.url}runs")
    page.wait_for_selector("li[data-key=going] .chip.training")
    for _ in range(ROUNDS):
        for name in draw.choices(names, k=4):
            page.get_by_label(f"Move {name}:").focus()
            page.keyboard.press(draw.choice(["ArrowUp", "ArrowDown"]))
            pause(page, draw.choice([0, 50, 200]))
        wait_until(lambda: page.evaluate(SHOWN)[1:] == [job.name for job in store.line()], "the order is the queue's")
    for words, found in (("one", ["one"]), ("th", ["three"]), ("going", ["going"])):
        page.get_by_label("Search").fill("")
        page.get_by_label("Search").press_sequentially(words, delay=draw.choice([30, 260]))
        wait_until(lambda found=found: sorted(page.evaluate(SHOWN)) == found, f"what {words} finds")
    for job in reversed(jobs):
        actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)


def test_stars(page: Any, place: Process, draw: Any) -> None:
    run = place.out / "kept"
    write_run(place.out, "kept", prompts=("a fox",))
    for step in (150, 300):
        write_snapshot(run, step)
    page.goto(f"{place.url}run?id=kept")
    steps = page.get_by_role("listbox", name="Steps")
    expect(steps.get_by_role("option")).to_have_count(3)
    steps.focus()

    def is_given(wanted: list[int] | None) -> bool:
        kept = [starred_step(run) or 300]
        return page.evaluate(STARRED) == kept and wanted in (None, kept)

    for _ in range(ROUNDS):
        for key in draw.choices(["ArrowLeft", "ArrowRight"], k=3):
            page.keyboard.press(key)
            wanted = page.evaluate(STAR)
            pause(page, draw.choice([0, 60]))
        wait_until(partial(is_given, wanted), "the last star")


def test_settings_and_texts(page: Any, place: Process, draw: Any) -> None:
    page.goto(place.url)
    page.wait_for_selector(READY)
    page.locator("[data-sample=photograph]").click()
    page.get_by_role("link", name="Next: style").click()
    page.wait_for_selector("#style-choices .stops")
    kept = place.out / ".studio" / "drafts" / page.evaluate("document.body.dataset.draft") / "draft.json"

    def draft() -> dict[str, Any]:
        return json.loads(kept.read_text(encoding="utf-8"))

    chosen = page.locator("input[name=preset]:checked")
    for _ in range(ROUNDS):
        chosen.focus()
        for key in draw.choices(["ArrowRight", "ArrowLeft"], k=3):
            page.keyboard.press(key)
            pause(page, draw.choice([0, 40]))
        wanted = chosen.input_value()
        page.wait_for_function(f"document.querySelector('input[name=preset][value={wanted}]').hasAttribute('checked')")
        wait_until(
            lambda wanted=wanted: draft()["choices"]["preset"] == chosen.input_value() == wanted, "the last card"
        )

    page.locator("#advanced > summary").click()
    page.locator(".settings > summary").click()
    page.get_by_label("Search settings").fill("train.steps")
    steps, row = page.locator("[data-setting='train.steps']"), page.locator("[data-key='train.steps']")
    for last in (31, 47):
        for number in (12, 25, last):
            steps.fill(str(number))
            steps.press("Enter")
            pause(page, draw.choice([0, 80]))
        wait_until(lambda last=last: draft()["choices"]["settings"] == {"train.steps": last}, "the last number")
        expect(steps).to_have_value(str(last))
        steps.fill("77")
        row.get_by_role("button", name="Back to preset").click()
        wait_until(lambda: draft()["choices"]["settings"] == {}, "back to the preset, after what was typed")
        expect(row.locator(".dot")).to_have_count(0)

    try_out(page)
    page.get_by_role("link", name="Next: start").click()
    name, prompts = page.get_by_label("Name of the style"), page.get_by_label("Preview prompts")
    expect(name).not_to_have_value("")
    for number in range(2):
        name.fill("")
        name.press_sequentially(f"dusk {number}", delay=draw.choice([10, 120]))
        prompts.fill("a\nb")
        page.get_by_role("button", name="Suggest new subjects").click()
        wait_until(lambda: len(draft()["prompts"]) > 2, "the suggestions come after what was typed")
        expect(prompts).to_have_value("\n".join(draft()["prompts"]))
        wait_until(lambda number=number: draft()["name"] == f"dusk {number}", "the whole name")
        expect(name).to_have_value(f"dusk {number}")
    page.wait_for_function(ALL_SENT)
