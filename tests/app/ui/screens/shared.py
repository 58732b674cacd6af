"""A studio with a login: coming in, being told what was wrong, going."""

from __future__ import annotations

from collections.abc import Iterator

from tests.app.ui.screens.stage import Stage
from tests.app.ui.visitor import READY


def screens(stage: Stage) -> Iterator[str]:
    """All of it."""
    page, url = stage.page, stage.locked.url
    page.goto(url)
    page.wait_for_selector("form")
    yield "login"
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("plum")
    stage.press("Log in")
    page.get_by_text("Wrong name or password.").wait_for()
    yield "login-wrong"
    page.wait_for_timeout(1500)  # the first wait after a wrong password
    page.get_by_label("Password").fill("pear")
    stage.press("Log in")
    page.wait_for_selector(READY)
    page.get_by_role("button", name="Log out: ann").focus()
    yield "shared"
    page.get_by_role("link", name="Account: ann").click()
    page.get_by_label("What is it for?").fill("ann")
    stage.press("Make a token")
    page.get_by_text("Copy it now").wait_for()
    yield "account"
    page.goto(f"{url}logout")
    page.wait_for_selector("form")
    yield "logout"
    stage.press("Log out")
    page.get_by_label("Password").wait_for()
    yield "logged-out"
    page.goto(f"{url}nowhere")
    yield "login-nowhere"
