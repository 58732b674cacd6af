"""The main screens in German, whose words are longer."""

from __future__ import annotations

from collections.abc import Iterator

from tests.app.ui.screens.runs import going, listed_runs, made
from tests.app.ui.screens.stage import Stage, hung_styles
from tests.app.ui.visitor import ALL_SENT, add


def screens(stage: Stage) -> Iterator[str]:
    """All of it; nothing is found by its words."""
    stage.go_fresh()
    with stage.speaking("de"):
        yield from pages(stage)
        yield from runs(stage)


def pages(stage: Stage) -> Iterator[str]:
    """The three steps, the styles and the Playground."""
    page = stage.page
    stage.go()
    yield "german-empty"
    add(page, *stage.pictures, count=3)
    page.wait_for_function(ALL_SENT)
    yield "german-pictures"
    page.goto(f"{stage.studio.url}#style")
    page.wait_for_selector("#step-style .stops")
    yield "german-style"
    page.goto(f"{stage.studio.url}#start")
    page.wait_for_selector("#step-start .summary")
    yield "german-start"
    with hung_styles(stage.out):
        stage.go("styles", ".art.of4")
        yield "german-styles"
        page.locator("a[href^='playground?style=']").last.click()
        page.wait_for_selector("#pg-form .style-row")
        yield "german-playground"


def runs(stage: Stage) -> Iterator[str]:
    """The list of runs, and runs that train and have ended."""
    page = stage.page
    with made(stage.out) as runs:
        going(stage.store, runs["Training"], saved=200, step=260)
        stage.go("run?id=Training", "#run-head .facts")
        yield "german-run-training"
        page.locator("#run-acts .more summary").click()
        yield "german-run-menu"
    with listed_runs(stage.out) as names:
        stage.go("runs", ".handle")
        yield "german-runs"
        stage.go(f"run?id={names[0]}", ".sheet:not([hidden])")
        yield "german-run"
