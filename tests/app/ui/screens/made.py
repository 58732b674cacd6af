"""The pages that have nothing on them yet, the styles, and the playground."""

from __future__ import annotations

from collections.abc import Iterator

from tests.app.ui.screens.stage import Stage, hung_styles


def screens(stage: Stage) -> Iterator[str]:
    """All of it."""
    page = stage.page
    for name in ("runs", "styles", "playground"):
        stage.go(name, "#pg-form form" if name == "playground" else "h1 >> visible=true")
        yield name
    page.locator(".more-fields > summary").click()
    page.get_by_label("Steps", exact=True).fill("0")
    stage.press("Draw")
    page.wait_for_selector("#pg-steps-said")
    yield "playground-wrong"
    page.get_by_label("Steps", exact=True).fill("40")  # enough to be looked at
    page.locator(".more-fields > summary").click()
    stage.press("Draw")
    page.wait_for_selector("#pg-going .runs [role=progressbar]")
    yield "playground-going"
    for job in stage.store.active():
        job.process.kill()
    page.wait_for_selector("#pg-going .failed")
    yield "playground-failed"
    stage.press("Draw it again")
    page.wait_for_selector("#pg-going .failed", state="detached")
    page.wait_for_selector("#pg-picture img")
    page.wait_for_selector("#pg-going .going", state="detached")
    yield "playground-drawn"
    page.locator("#pg-picture [data-whole]").click()
    page.locator("dialog[open] img").wait_for()
    yield "playground-enlarged"
    page.keyboard.press("Escape")
    yield from compared(stage)
    with hung_styles(stage.out):
        yield from styles(stage)


def compared(stage: Stage) -> Iterator[str]:
    """Pictures in rows, then in rows and columns."""
    page = stage.page
    page.locator("#pg-across").select_option("seed")
    page.get_by_label("Values along a row").fill("1, 2, 3")
    page.locator(".more-fields > summary").click()
    page.get_by_label("Steps", exact=True).fill("2")
    page.locator(".more-fields > summary").click()
    page.locator("[data-draw]").click()
    page.wait_for_selector("#pg-picture .series figure:nth-child(3) img")
    page.wait_for_selector("#pg-going .going", state="detached")
    yield "playground-series"
    page.locator("#pg-down").select_option("guidance")
    page.get_by_label("Values from row to row").fill("1, 3")
    page.locator("[data-draw]").click()
    page.wait_for_selector("#pg-picture .grid tr:nth-child(2) td:last-child img")
    page.wait_for_selector("#pg-going .going", state="detached")
    yield "playground-grid"
    page.locator("#pg-down").select_option("")
    page.locator("#pg-across").select_option("")


def styles(stage: Stage) -> Iterator[str]:
    """Styles to choose from, what is asked about one, and a drawing with one that is refused."""
    page = stage.page
    stage.go("styles", ".art.of4")
    yield "styles-list"
    page.locator(".offers-of summary").last.click()
    yield "styles-download"
    page.get_by_role("button", name="Put into another program").click()
    page.get_by_role("dialog").wait_for()
    yield "styles-put"
    page.keyboard.press("Escape")
    page.get_by_label("Actions for").last.click()
    yield "styles-menu"
    page.get_by_role("button", name="Rename").last.click()
    page.get_by_role("dialog").wait_for()
    yield "styles-rename"
    page.keyboard.press("Escape")
    page.get_by_label("Search").fill("zebra")
    page.get_by_text("No style").wait_for()
    yield "styles-none-found"
    page.get_by_label("Search").fill("")
    page.get_by_role("link", name="Try it").last.click()
    page.wait_for_selector("#pg-form .style-row")
    yield "playground-style"
    page.locator("[data-draw]").click()
    page.locator("#pg-form .wrong").wait_for()
    yield "playground-refused"
