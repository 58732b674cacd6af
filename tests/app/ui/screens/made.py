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
    page.wait_for_selector("#pg-picture img")
    page.wait_for_selector("#pg-going .going", state="detached")
    yield "playground-drawn"
    with hung_styles(stage.out):
        stage.go("styles", ".art.of4")
        yield "styles-list"
        page.locator(".offers-of summary").last.click()
        yield "styles-download"
        page.get_by_label("Actions for").last.click()
        page.get_by_role("button", name="Delete").last.click()
        yield "styles-delete"
