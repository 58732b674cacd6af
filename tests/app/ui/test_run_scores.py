"""A trained run in a real browser: its curves, the mark and why, the grid, a vote, and what is downloaded."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.studio.comparison.votes import read_votes
from app.studio.runs.chosen import star
from tests.app.ui.screens.findings import OVERFLOWS, violations
from tests.app.ui.server import Process
from tests.trainers.tiny_runs import quick_settings, style_tensors, write_images
from trainers.runs.run import Run
from trainers.score.recorded import Scores, recorded_scores
from trainers.training.train import train

LEAVES = {
    "train": {"steps": 6, "learning_rate": 0.3, "early_stop": "act"},
    "sample": {"prompts": ["a fox", "an owl", "a ship", "a pear"], "every": 1, "size": 32},
}
"""The first step comes nearer to the style, and the later ones leave it."""


@pytest.fixture(scope="module")
def run(studio: Process, tiny_bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    images = write_images(tmp_path_factory.mktemp("scored") / "images")
    run = Run(train(quick_settings(tiny_bases["sd1"], images, {"name": "scored"}, LEAVES), studio.out).run)
    yield run
    shutil.rmtree(run.folder)


def test_the_best_step_is_marked_explained_and_downloaded(page, studio, run, tmp_path):
    scores: Scores = recorded_scores(run.folder)
    assert [score.step for score in scores] == [0, 1, 2, 3]
    page.goto(f"{studio.url}run?id=scored")
    expect(page.get_by_text("Step 1 was still the nearest to your style after 2 further samples")).to_be_visible()
    curves = page.get_by_role("region", name="Style and change")
    expect(curves.get_by_role("status")).to_have_text(
        re.compile("^Step 1: [1-9][0-9]?% of the distance to your style is gone")
    )
    expect(curves.get_by_text("checked on the starter only")).to_be_visible()
    for kind in ("distance", "change"):
        expect(curves.locator(f"circle.{kind}")).to_have_count(len(scores))
        expect(curves.locator(f"circle.{kind}.best")).to_have_count(1)
        expect(curves.locator(f"circle.{kind}").nth(1)).to_have_class(f"{kind} best")
    curves.get_by_text("As a table").click()
    nearest = f"{100 * scores[1].distance / scores[0].distance:.1f}%"
    expect(curves.get_by_role("row", name="Step 1, the best")).to_contain_text(nearest)
    expect(curves.get_by_role("row", name="The base, before training")).to_contain_text("100%")
    expect(
        page.get_by_text("Step 1 is the best one and what you download, unless you star another one.")
    ).to_be_visible()
    assert violations(page) == []
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        expect(curves.locator("circle.best")).to_have_count(2)
        assert not page.evaluate(OVERFLOWS), width

    page.get_by_role("link", name="Compare", exact=True).click()
    star = page.get_by_role("columnheader", name="Step 1", exact=True).get_by_role("button", name="Keep step 1")
    expect(star).to_have_attribute("aria-pressed", "true")
    page.get_by_role("link", name="Blind vote").click()
    page.wait_for_selector("#steps-votes [data-seen]")
    page.keyboard.press("ArrowLeft")
    page.get_by_text("Votes: 1. About").wait_for()
    assert len(read_votes(run.folder).votes) == 1
    page.get_by_role("link", name="Show the result").click()
    page.get_by_text("Too few votes to tell: 1 of about").wait_for()
    page.get_by_role("link", name="scored").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download step 1", exact=True).click()
    assert saved.value.suggested_filename == "scored 1.safetensors"
    saved.value.save_as(tmp_path / "scored.safetensors")
    downloaded, kept = style_tensors(tmp_path / "scored.safetensors"), style_tensors(run.snapshot(1))
    assert downloaded.keys() == kept.keys() and all(downloaded[key].equal(kept[key]) for key in kept)

    page.get_by_label("Step 3", exact=True).click()
    page.get_by_role("button", name="Star this step").click()
    expect(page.get_by_role("button", name="Download step 3", exact=True)).to_be_visible()
    expect(page.get_by_text("Step 3 is what you download; by its scores step 1 is the best one.")).to_be_visible()
    expect(curves.locator("circle.distance.best")).to_have_count(1)


def test_a_step_without_pictures_is_not_selected_and_can_be_the_starred_one(page, studio, run):
    shutil.rmtree(run.sample(2))
    star(run.folder, None)
    page.goto(f"{studio.url}run?id=scored")
    expect(page.get_by_label("Step 1, starred", exact=False)).to_have_attribute("aria-selected", "true")
    empty = page.locator(".cells [data-step='2']")
    empty.click()
    expect(page.get_by_text("Step 2 has no pictures of this prompt.")).to_be_visible()
    expect(page.get_by_label("Step 1, starred", exact=False)).to_have_attribute("aria-selected", "true")
    star(run.folder, 2)
    page.reload()
    expect(page.get_by_role("button", name="Download step 2", exact=True)).to_be_visible()
    expect(empty).to_have_class(re.compile("given"))
    empty.locator(".mark").click()
    expect(page.get_by_role("button", name="Download step 1", exact=True)).to_be_visible()
