"""Comparing the steps of a run in a real browser: the grid, its one zoom, a blind vote, and both files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from app.studio.comparison.votes import add_vote, read_votes
from app.studio.runs.chosen import read_choice
from tests.app.ui.ended_runs import write_run, write_snapshot
from tests.app.ui.server import Process
from tests.app.ui.visitor import widest
from tests.waiting import wait_until
from trainers.score.votes import Vote

SCALES = "[...document.querySelectorAll('.pane img')].map(one => new DOMMatrix(getComputedStyle(one).transform).a)"
IN_VIEW = "#steps-votes [data-seen]"


@pytest.fixture
def run(studio: Process) -> Iterator[Path]:
    folder = write_run(studio.out, "voted", prompts=("a fox", "a <b>boat</b>"))
    for step in (150, 300):
        write_snapshot(folder, step)
    yield folder
    shutil.rmtree(folder)


def focused(page: Any, name: str) -> None:
    expect(page.get_by_role("gridcell", name=name, exact=True)).to_be_focused()


def is_zoomed(page: Any, times: float) -> None:
    page.wait_for_function(f"{SCALES}.every(scale => Math.abs(scale - {times}) < 0.01)")


def vote(page: Any, key: str) -> None:
    before = page.locator(IN_VIEW).get_attribute("data-seen")
    page.keyboard.press(key)
    page.wait_for_selector(f"{IN_VIEW}:not([data-seen='{before}'])")


def check_grid(page: Any) -> None:
    """The keys and the zoom, which the page and the file have alike."""
    page.get_by_role("gridcell", name="step 150, strength 1, a fox", exact=True).focus()
    page.keyboard.press("ArrowRight")
    focused(page, "step 300, strength 1, a fox")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    focused(page, "step 300, strength 1, a <b>boat</b>")
    page.get_by_role("button", name="Zoom in").click()
    is_zoomed(page, 2)
    expect(page.locator("output")).to_have_text("200%")
    cell = page.get_by_role("gridcell", name="step 150, strength 1, a fox", exact=True)
    cell.focus()
    page.keyboard.press("+")
    is_zoomed(page, 3)
    page.keyboard.press("Shift+ArrowRight")
    focused(page, "step 150, strength 1, a fox")
    box = cell.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.keyboard.down("Control")
    page.mouse.wheel(0, 250)
    page.keyboard.up("Control")
    is_zoomed(page, 3 / 2.71828)
    page.keyboard.press("0")
    is_zoomed(page, 1)


def test_steps_are_compared_in_a_grid_voted_on_and_saved(page, studio, run, tmp_path):
    page.goto(f"{studio.url}run?id=voted")
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(page.get_by_role("button", name="Draw 8 pictures")).to_be_visible()
    page.locator("summary", has_text="Steps, strengths, prompts").click()
    page.get_by_label("Strengths", exact=True).fill("1")
    page.get_by_label("Strengths", exact=True).press("Enter")
    expect(page.get_by_role("rowheader", name="Strength")).to_have_text(["Strength 1", "Strength 1"])
    expect(page.locator(".go:visible")).to_have_text(["Blind vote"])
    check_grid(page)
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert widest(page) == []

    for label, name in (("One picture (PNG)", "voted steps.png"), ("One web page (HTML)", "voted steps.html")):
        page.locator("summary", has_text="Download").click()
        with page.expect_download() as saved:
            page.get_by_role("button", name=label).click()
        assert saved.value.suggested_filename == name
        saved.value.save_as(tmp_path / name)
    with Image.open(tmp_path / "voted steps.png") as picture:
        assert picture.format == "PNG" and picture.width > 2 * 96 and picture.height > 2 * 96
    html = (tmp_path / "voted steps.html").read_text(encoding="utf-8")
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", html)

    page.get_by_role("link", name="Blind vote").click()
    page.wait_for_selector(IN_VIEW)
    markup = [page.locator(part).inner_html() for part in ("#steps-head .title", ".ballot")]
    assert not re.search(r"\b(150|300)\b", "".join(markup))
    vote(page, "ArrowLeft")
    wait_until(lambda: len(read_votes(run).votes) == 1, "the vote is kept")
    vote(page, "ArrowDown")
    vote(page, "u")
    expect(page.get_by_text("Votes: 1. About 10 give a clear result; you can stop at any time.")).to_be_visible()
    page.get_by_role("button", name="The right one is better").click()
    page.get_by_text("Votes: 2. About 10 give").wait_for()
    assert [each.won for each in read_votes(run).votes] == [1, 0]
    page.get_by_role("link", name="Show the result").click()
    page.get_by_text("Too few votes to tell: 2 of about 10. About 8 to go.").wait_for()
    expect(page.get_by_role("rowheader", name="Strength")).to_have_text(["Strength 1", "Strength 1"])
    for kept, starred in ((150, 150), (300, None)):  # without a star the run gives its last step
        star = page.get_by_role("columnheader", name=f"Step {kept}").get_by_role("button", name=f"Keep step {kept}")
        star.press("Enter")
        expect(star).to_have_attribute("aria-pressed", "true")
        expect(star).to_be_focused()
        assert read_choice(run).step == starred
    for _ in range(20):
        add_vote(run, "a fox", Vote((150, 1.0), (300, 1.0), 1.0), read_votes(run).lines)
    page.reload()
    page.locator(".verdict").get_by_role("button", name="Keep step 150").click()
    expect(page.get_by_role("columnheader", name="Step 150").get_by_role("button")).to_have_attribute(
        "aria-pressed", "true"
    )
    assert read_choice(run).step == 150

    page.goto((tmp_path / "voted steps.html").as_uri())
    check_grid(page)
