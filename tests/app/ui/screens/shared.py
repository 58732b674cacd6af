"""A studio with a login: coming in, being told what was wrong, going."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import People
from app.studio.paths import Paths
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
    yield from account(stage)
    page.goto(f"{url}logout")
    page.wait_for_selector("form")
    yield "logout"
    stage.press("Log out")
    page.get_by_label("Password").wait_for()
    yield "logged-out"
    page.goto(f"{url}nowhere")
    yield "login-nowhere"


def account(stage: Stage) -> Iterator[str]:
    """One's tokens, and as an admin everybody's and the people."""
    page = stage.page
    page.get_by_label("What is it for?").fill("Render farm")
    stage.press("Make a token")
    page.get_by_text("Copy it now").wait_for()
    yield "account"
    page.get_by_role("button", name="Revoke the token Render farm").click()
    page.get_by_text("no longer works").wait_for()
    with as_admin(stage):
        page.goto(f"{stage.locked.url}account")
        page.get_by_role("heading", name="Audit log").wait_for()
        yield "account-admin"
        page.get_by_label("Name").fill("mia")
        stage.press("Make an invitation link")
        link = page.get_by_label("Invitation link").input_value()
        yield "account-invited"
        page.get_by_label("Name").fill("eve")
        stage.press("Make an invitation link")
        page.get_by_role("alert").wait_for()
        yield "account-problem"
        page.goto(link)
        page.get_by_label("New password").fill("walnut-tree")
        yield "invitation"
        page.get_by_label("Repeat it").fill("walnut")
        stage.press("Open the studio")
        page.get_by_role("alert").filter(has_text="differ").wait_for()
        yield "invitation-differs"
        page.goto(f"{stage.locked.url}account")
        page.get_by_role("button", name="Withdraw the invitation of mia").click()
        page.get_by_text("no longer works").wait_for()
        page.goto(link)
        page.locator("main .lead:not(:empty)").wait_for()  # after several of them, how long to wait
        yield "invitation-withdrawn"


@contextmanager
def as_admin(stage: Stage) -> Iterator[None]:
    """Be an admin for a while, the first of the studio's accounts, beside somebody else."""
    database = PeopleDatabase(Paths(stage.locked.out).people)
    people = People(database)
    names = "eve", "Bartholomew of the harbour"
    for name in names:
        people.add(name, "walnut-tree")
    try:
        log_in(stage, "eve", "walnut-tree")
        yield
    finally:
        for name in names:
            people.remove(name)
        database.close()
        log_in(stage, "ann", "pear")


def log_in(stage: Stage, name: str, password: str) -> None:
    """Come in as somebody, whoever was here."""
    page = stage.page
    page.context.clear_cookies()
    page.goto(stage.locked.url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    stage.press("Log in")
    page.wait_for_selector(READY)
