"""Words of people and files that are made for a page, looked at by somebody else on every page: they stay words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from app.studio.styles.entry import NOTE_KEYS
from app.ui.middleware.routes import ADDRESSES
from tests.app.ui.server import MEASURED, Process
from tests.app.ui.visitor import listen
from tests.attacks.conftest import Site
from tests.attacks.stored_things import VISITOR, Things, note_mark

SHOWN = """marks => {
    const skipped = new Set(['SCRIPT', 'STYLE']);
    const told = [...document.querySelectorAll('body *')].filter(one => !skipped.has(one.tagName)).flatMap(one => [
        one.value, ...[...one.childNodes].filter(node => node.nodeType === 3).map(node => node.data),
        ...[...one.attributes].map(attribute => attribute.value),
    ]).join('\\n').toLowerCase();
    return marks.filter(mark => !told.includes(`at-${mark}-`));
}"""
"""Which marks neither a text, a field nor an attribute of the page holds."""
CAME_TO_LIFE = """site => [
    ...(window.ran ? ['a script ran'] : []),
    ...[...document.querySelectorAll(`#grown, [onload], [onerror], [onfocus], a[href^="javascript:" i],
        [style*="${site}"], [src*="${site}"], a[href*="${site}"]`)].map(one => one.outerHTML.slice(0, 200)),
]"""
"""What of the words has become more than words."""
OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true; })"


class Looking:
    """The visitor, who waits for every mark that a page has to show, and finds that nothing came to life."""

    def __init__(self, page: Any, studio: Process, site: Site) -> None:
        self.page, self.studio, self.site = page, studio, site
        self.paths: set[str] = set()

    def at(self, path: str, *marks: str, **query: str) -> None:
        self.page.goto(f"{self.studio.url}{path}{'?' if query else ''}{urlencode(query)}")
        self.paths.add(urlsplit(self.page.url).path)
        self.sees(*marks)

    def sees(self, *marks: str) -> None:
        try:
            self.page.wait_for_function(f"marks => !({SHOWN})(marks).length", arg=list(marks), polling=200)
        except Exception as error:
            raise AssertionError(f"{self.page.url} does not show {self.page.evaluate(SHOWN, list(marks))}") from error
        self.page.evaluate(OPEN_ALL)
        assert self.page.evaluate(CAME_TO_LIFE, self.site.url) == [], self.page.url

    def presses(self, label: str) -> None:
        self.page.get_by_role("button", name=label, exact=True).click()


@pytest.fixture
def things(tmp_path: Path, stranger: Site) -> Things:
    found = Things(tmp_path / "outputs", stranger.url)
    found.write()
    return found


@pytest.fixture
def visitor(things: Things, browser: Any, stranger: Site) -> Iterator[Looking]:
    studio = Process(things.paths.runs, "--auth", f"{VISITOR}:plum-tree", before=MEASURED)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    form = {"username": VISITOR, "password": "plum-tree"}
    assert context.request.post(f"{studio.url}login", form=form).ok
    page, complaints = context.new_page(), list[str]()
    listen(page, studio.url, complaints)
    yield Looking(page, studio, stranger)
    context.close()
    studio.stop()
    assert complaints == [] and stranger.asked == []


def test_words_stay_words_on_every_page(visitor: Looking, things: Things) -> None:
    for look in (at_runs, at_styles, at_pictures, at_a_clone):
        look(visitor, things)
    assert visitor.paths == set(ADDRESSES)


@pytest.mark.thorough
def test_words_stay_words_whatever_a_run_does_and_an_address_says(visitor: Looking, things: Things) -> None:
    for look in (at_runs_at_work, at_what_an_address_says):
        look(visitor, things)


def at_runs(visitor: Looking, things: Things) -> None:
    runs = things.runs
    visitor.at("runs", *runs, "sweep", "owner", "loading", "error", "planned", "method")
    visitor.at("run", "told", "owner", "base", "method", "error", "prompt", id=runs["told"])
    visitor.sees("event", "printed", "device")
    visitor.at("run", "broken", id=runs["broken"])
    visitor.sees("note", "section")
    visitor.at("sweep", "sweep", "swept", "value", "prompt", "gone", "owner", id=things.sweep)
    visitor.at("steps", "told", "prompt", id=runs["told"])
    visitor.at("compare", "told", "mine", "prompt", ids=f"{runs['told']},{runs['mine']}")


def at_runs_at_work(visitor: Looking, things: Things) -> None:
    runs = things.runs
    visitor.at("run", "going", "loading", id=runs["going"])
    visitor.at("run", "waiting", "planned", id=runs["waiting"])
    visitor.at("run", "mine", id=runs["mine"])
    visitor.page.locator("#run-acts summary").last.wait_for()
    visitor.sees()  # with all menus open
    visitor.page.get_by_role("button", name="Delete", exact=True).press("Enter")
    visitor.page.get_by_role("heading", name="There is no such run").wait_for()
    visitor.sees("mine")  # with a menu open that is hidden, as the graph is
    visitor.presses("Undo")
    visitor.page.locator("#run-acts summary").last.wait_for()


def at_styles(visitor: Looking, things: Things) -> None:
    told = [note_mark(key) for key in NOTE_KEYS]
    visitor.at("styles", "phrased", "phrase", "tagged", "tag", "trained", "owner", *told)
    visitor.at("playground", "wish", "style", "model", "line", "typed-prompt", "typed-size", "typed-strength")
    visitor.at("trash", "thrown-style", "thrown-drawing", "thrown-run")


def at_pictures(visitor: Looking, things: Things) -> None:
    visitor.at("", "name", "caption", "rival", "left", "reason", "trigger")
    visitor.page.get_by_role("link", name="Next: style").click()
    visitor.page.get_by_role("link", name="Next: start").click()
    visitor.sees("called", "preview")


def at_what_an_address_says(visitor: Looking, things: Things) -> None:
    for path, name in (("run", "id"), ("sweep", "id"), ("compare", "ids"), ("playground", "style")):
        visitor.at(path, **{name: things.long("asked")})
        visitor.page.get_by_role("heading").first.wait_for()
        visitor.sees()
    visitor.at("", "asked", clone=things.long("asked"))


def at_a_clone(visitor: Looking, things: Things) -> None:
    """Somebody else's pictures and words become one's own."""
    visitor.at("", "cloned", "caption", "file", "trigger", clone=things.runs["cloned"])
    visitor.page.wait_for_url(lambda url: "clone" not in url)  # a reload does not clone again
