"""Account, login, invitations and read-only links in a browser: one look with the studio, and nobody stays outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import expect

from app.cli.accounts.people import people_of
from app.studio.accounts.tokens import PREFIX
from app.studio.paths import Paths
from app.studio.runs.links import RunLinks
from app.studio.studio_queue import StudioQueue
from tests.app.ui.ended_runs import PROMPTS, write_run
from tests.app.ui.screens.findings import OVERFLOWS, violations
from tests.app.ui.server import Process
from tests.app.ui.visitor import READY, SIZE, blank_page, nameless, visiting, widest
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A studio with an admin, Ann, a member, Bob, a temporary account, Cas, and a run."""
    out = tmp_path_factory.mktemp("accounts") / "outputs"
    out.mkdir()
    with people_of(out) as people:
        people.add("ann", "pear-tree")
        people.add("bob", "plum-tree")
    write_run(out, "harbour", side=64)
    process = Process(out, "--auth", "cas:fig-tree")
    yield process
    process.close()


@contextmanager
def logged_in(browser: Any, studio: Process, name: str, password: str) -> Iterator[Any]:
    """A browser of somebody with an account, on the Account page."""
    with visiting(browser, studio.url, "clipboard-read", "clipboard-write") as page:
        form = {"username": name, "password": password}
        assert page.request.post(f"{studio.url}login", form=form, headers={"origin": studio.url[:-1]}).ok
        page.goto(f"{studio.url}account")
        yield page


def expect_look(page: Any) -> None:
    """Expect a page that does not move sideways and has nothing nameless or against WCAG, in both themes."""
    page.emulate_media(reduced_motion="reduce")  # no colour between two
    for width in (1920, 390):
        page.set_viewport_size({"width": width, "height": 844})
        wait_until(lambda: not page.evaluate(OVERFLOWS), lambda: str(widest(page)))  # what follows the width by script
    assert nameless(page) == []
    for _ in range(2):
        page.get_by_role("button", name="Switch between light and dark").click()
        wait_until(lambda: not violations(page), lambda: str(violations(page)))  # once it is laid out
    page.set_viewport_size(SIZE)


def test_an_invited_person_chooses_a_password_and_the_link_works_no_more(shared: Process, browser: Any) -> None:
    with logged_in(browser, shared, "ann", "pear-tree") as page:
        page.get_by_role("region", name="Add a person").get_by_label("Name").fill("eve")
        page.get_by_role("button", name="Make an invitation link").click()
        link = page.get_by_label("Invitation link").input_value()
        assert link.startswith(f"{shared.url}invitation#")
        expect_look(page)
        page.reload()  # sends the form no second time
        expect(page.get_by_role("button", name="Withdraw the invitation of eve")).to_be_visible()
        expect(page.get_by_label("Invitation link")).to_have_count(0)
    secret = link.partition("#")[2]
    with visiting(browser, shared.url) as page:
        sent: list[str] = []
        page.on("request", lambda request: sent.append(f"{request.url.partition('#')[0]} {request.headers}"))
        page.goto(link)
        expect(page.get_by_text("You were invited to this studio as eve.")).to_be_visible()
        expect_look(page)
        page.get_by_label("New password").fill("walnut-tree")
        page.get_by_label("Repeat it").fill("walnut-tree")
        page.get_by_role("button", name="Open the studio").click()
        page.wait_for_selector(READY)
        expect(page.get_by_role("link", name="Account: eve")).to_be_visible()
        assert len(sent) > 3 and not any(secret in line for line in sent), "in no address and no Referer"
    with blank_page(browser) as page:
        page.goto(link)
        expect(page.get_by_text("This invitation does not work")).to_be_visible()
        expect(page.get_by_label("New password")).to_be_hidden()
        expect_look(page)
        page.get_by_role("link", name="Log in").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    with logged_in(browser, shared, "ann", "pear-tree") as page:
        expect(page.get_by_label("Role of eve")).to_have_value("member")
        expect(page.get_by_text("Open invitations")).to_have_count(0)


def test_a_new_password_ends_the_logins_elsewhere(shared: Process, browser: Any) -> None:
    with (
        logged_in(browser, shared, "bob", "plum-tree") as here,
        logged_in(browser, shared, "bob", "plum-tree") as there,
    ):
        here.get_by_label("Current password").fill("plum-tree")
        here.get_by_label("New password").fill("cherry-tree")
        here.get_by_label("Repeat it").fill("cherry-tree")
        here.get_by_role("button", name="Change password").click()
        expect(here.get_by_text("Your password was changed.")).to_be_visible()
        here.reload()
        expect(here.get_by_role("heading", name="Account")).to_be_visible()
        assert there.request.get(f"{shared.url}account").status == 401
        form = {"username": "bob", "password": "cherry-tree"}
        assert there.request.post(f"{shared.url}login", form=form).ok
    with logged_in(browser, shared, "cas", "fig-tree") as page:
        expect(page.get_by_text("This password is set where the studio is started")).to_be_visible()
        expect(page.get_by_label("Current password")).to_have_count(0)


def test_a_new_token_is_copied_and_a_wrong_number_stays_where_it_is(shared: Process, browser: Any) -> None:
    with logged_in(browser, shared, "ann", "pear-tree") as page:
        page.get_by_label("What is it for?").fill("night script")
        page.get_by_role("button", name="Make a token").click()
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()").startswith(PREFIX)
        waiting = page.get_by_label("Max. queued runs of bob")
        waiting.fill("many")
        page.get_by_role("button", name="Save").click()
        assert not waiting.evaluate("field => field.validity.valid") and waiting.input_value() == "many"


def test_language_and_theme_are_chosen_and_stay(shared: Process, browser: Any) -> None:
    with logged_in(browser, shared, "ann", "pear-tree") as page:
        own = page.get_by_role("region", name="Language and theme")
        expect(own.get_by_label("Theme")).to_have_value("")
        own.get_by_label("Theme").select_option("Dark")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.get_by_role("button", name="Switch between light and dark").click()
        expect(own.get_by_label("Theme")).to_have_value("light")
        own.get_by_label("Theme").select_option("Dark")
        own.get_by_label("Language").select_option("Deutsch")
        expect(page.get_by_role("heading", name="Konto")).to_be_visible()
        page.goto(shared.url)
        page.wait_for_selector(READY)
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        expect(page.locator("html")).to_have_attribute("lang", "de")


def test_a_guest_compares_steps_and_prompts_of_a_shared_run(shared: Process, browser: Any) -> None:
    queue = StudioQueue(Paths(shared.out))
    with visiting(browser, shared.url) as page:
        page.goto(f"{shared.url}shared/{RunLinks(queue).make(queue.find('harbour'))}")
        expect(page.get_by_role("heading", name="harbour")).to_be_visible()
        steps = page.get_by_role("listbox", name="Steps")
        expect(steps.get_by_role("option")).to_have_count(3)
        picture = page.get_by_role("img", name=f"{PROMPTS[0]}, Step 300")
        page.wait_for_function("image => image.naturalWidth === 64", arg=picture.element_handle())
        assert picture.bounding_box()["width"] <= 128, "twice its size at most"
        steps.focus()
        page.keyboard.press("ArrowLeft")
        expect(page.get_by_role("img", name=f"{PROMPTS[0]}, Step 150")).to_be_visible()
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("img", name=f"{PROMPTS[1]}, Step 150")).to_be_visible()
        before = page.locator(".before").get_attribute("src")
        page.get_by_label("Left side").select_option("Step 300")
        expect(page.locator(".before")).not_to_have_attribute("src", before)
        page.get_by_label("Position of the divider").fill("20")
        expect(page.locator("#run-sheet")).to_have_attribute("style", "--cut: 20%;")
        assert page.get_by_label("Left side").inner_text().splitlines() == ["Before training", "Step 150", "Step 300"]
        expect(page.get_by_role("button", name="Star this step")).to_have_count(0)
        expect_look(page)


def test_the_login_and_a_wrong_address_have_the_studios_look(shared: Process, browser: Any) -> None:
    with blank_page(browser) as page:
        for path, title in (("", "Log in"), ("logout", "Log out"), ("shared/none", "There is nothing here")):
            page.goto(f"{shared.url}{path}")
            expect(page.get_by_role("heading", name=title)).to_be_visible()
            expect(page.get_by_role("link", name="Velatura")).to_be_visible()
            expect_look(page)
