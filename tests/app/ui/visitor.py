"""A person in front of the studio, as far as Playwright can be one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.waiting import wait_until

PATIENCE = 120_000
"""Milliseconds for which a page waits for a state: CI may be slow; it comes within a second otherwise."""
SIZE = {"width": 1280, "height": 900}
READY = "body[data-pictures]"
ALL_SENT = "!Object.keys(localStorage).some(key => key.startsWith('velatura-unsent'))"
"""Whether the server has all that was typed."""
LEFT = (
    "AbortError: signal is aborted",
    "AbortError: BodyStreamBuffer was aborted",
    "Unexpected error Connection errored out.",
)
"""What Gradio's own script says where a page is left while it asks the server or listens to it; it depends on the
moment. Of a server that does not answer the request itself tells."""
ABORTED = "net::ERR_ABORTED"
"""What became of a request that the page itself gave up."""

NAMED = {
    *("button", "link", "textbox", "combobox", "checkbox", "radio", "slider", "spinbutton", "searchbox"),
    *("image", "progressbar", "dialog", "DisclosureTriangle", "listbox"),
}
"""Roles, as Chromium calls them, that mean nothing without a name."""


def new_page(browser: Any, url: str, **options: Any) -> tuple[Any, Any, list[str]]:
    """A new visitor's context and page on Train, and the list to which every complaint of the page is added."""
    context = _new_context(browser, **options)
    page = context.new_page()
    complaints: list[str] = []
    listen(page, url, complaints)
    page.goto(url)
    page.wait_for_selector(READY)
    return context, page, complaints


@contextmanager
def blank_page(browser: Any, **options: Any) -> Iterator[Any]:
    """A new visitor's page, on no page yet, which may come upon errors."""
    context = _new_context(browser, **options)
    try:
        yield context.new_page()
    finally:
        context.close()


@contextmanager
def visiting(browser: Any, url: str, *permissions: str) -> Iterator[Any]:
    """A new visitor's page, on no page yet, about which nothing may be left to complain at the end."""
    complaints: list[str] = []
    with blank_page(browser, permissions=list(permissions)) as page:
        listen(page, url, complaints)
        yield page
    assert complaints == [], complaints


FORGET = """
(() => {
  const visitor = location.protocol.startsWith('http') && document.cookie.match(/(?:^|; )visitor=(\\d+)/)?.[1];
  if (!visitor || localStorage.visitor === visitor) return;
  localStorage.clear();
  sessionStorage.clear();
  localStorage.visitor = visitor;
})();
"""
"""Before a page's own scripts: what the visitor before has left in the browser is gone."""


class Tab:
    """One page for visitors who come one after the other; where it `listens`, none may leave it with complaints.

    A page of its own for each would take half a second more of the processor, for a process with all scripts compiled.
    A visitor may open other tabs, and must leave no scripts (`add_init_script`) behind.
    """

    def __init__(self, browser: Any, url: str, *permissions: str, listens: bool = True) -> None:
        self.url, self.context = url, _new_context(browser, permissions=list(permissions))
        self.context.add_init_script(FORGET)
        self.page = self.context.new_page()
        self._complaints: list[str] = []
        self._visits = 0
        if listens:
            listen(self.page, url, self._complaints)

    @contextmanager
    def visit(self) -> Iterator[Any]:
        """The page for a new visitor, on no page yet."""
        self._visits += 1
        self.context.clear_cookies()
        self.context.add_cookies([{"name": "visitor", "value": str(self._visits), "url": self.url}])
        self.page.set_viewport_size(SIZE)
        self.page.mouse.move(0, 0)
        self._complaints.clear()
        yield self.page
        self.page.unroute_all()
        for other in self.context.pages:
            if other != self.page:
                other.close()
        self.page.goto("about:blank")
        assert self._complaints == [], self._complaints


@contextmanager
def open_tab(browser: Any, url: str, *permissions: str, listens: bool = True) -> Iterator[Tab]:
    """A tab that is closed at the end."""
    tab = Tab(browser, url, *permissions, listens=listens)
    try:
        yield tab
    finally:
        tab.context.close()


def _new_context(browser: Any, **options: Any) -> Any:
    context = browser.new_context(**{"viewport": SIZE} | options)
    context.set_default_timeout(PATIENCE)
    return context


def listen(page: Any, url: str, complaints: list[str]) -> None:
    """Note failing scripts, errors in the console, requests to anywhere else, and those that nobody answers."""
    host = urlsplit(url).netloc

    def note(complaint: str, if_so: bool = True) -> None:
        if if_so:
            complaints.append(complaint)

    page.on("pageerror", lambda error: note(f"script: {error}"))
    page.on("console", lambda said: note(f"console: {said.text}", _is_complaint(said)))
    page.on("request", lambda asked: note(asked.url, urlsplit(asked.url).netloc not in (host, "")))
    page.on("requestfailed", lambda asked: note(f"{asked.failure}: {asked.url}", asked.failure != ABORTED))


def _is_complaint(said: Any) -> bool:
    return said.type == "error" and not said.text.startswith(LEFT)


def put_far_away(page: Any, milliseconds: int) -> None:
    """Let every answer of the server take that much longer, as over a long line."""
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    unlimited = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
    line.send("Network.emulateNetworkConditions", {**unlimited, "latency": milliseconds})


def add(page: Any, *files: Path, count: int) -> None:
    """Choose files and wait until so many pictures are there."""
    page.set_input_files("#files", [str(file) for file in files])
    page.wait_for_selector(f"body[data-pictures='{count}']")


def try_out(page: Any) -> None:
    """Step 2: choose to try things out, with the starter."""
    page.get_by_role("radio", name="Just trying things out").press("Space")
    page.wait_for_selector("[value=try][checked]", state="attached")


def captions(page: Any) -> list[str]:
    """What stands in the caption fields."""
    return page.eval_on_selector_all(".cards textarea", "fields => fields.map(field => field.value)")


def widest(page: Any) -> list[str]:
    """Elements that reach beyond the right edge of the window."""
    return page.evaluate(
        """() => [...document.querySelectorAll('body *')]
        .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 0.5
            && getComputedStyle(e).position !== 'fixed')
        .map(e => `${e.tagName}.${e.className} ${e.getBoundingClientRect().right}`)"""
    )


def nameless(page: Any) -> list[str]:
    """Controls and pictures that a screen reader has no name for."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Accessibility.enable")
    nodes = devtools.send("Accessibility.getFullAXTree")["nodes"]
    devtools.detach()
    roles = {node["nodeId"]: node["role"]["value"] for node in nodes if not node.get("ignored")}
    named = {node["nodeId"] for node in nodes if node.get("name", {}).get("value", "").strip()}
    return [f"{role} {number}" for number, role in roles.items() if role in NAMED and number not in named]


def expect_layout(page: Any) -> None:
    """Expect that nothing reaches beyond a wide or a narrow window, and that everything has a name."""
    for width in (1920, 390):
        page.set_viewport_size({"width": width, "height": 844})
        wait_until(lambda: not widest(page), lambda: str(widest(page)))
    assert nameless(page) == []
    page.set_viewport_size(SIZE)
