"""A studio on this machine, and a real browser to look at it with."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.app.ui.bare_page import BareTab
from tests.app.ui.server import MEASURED, Process
from tests.app.ui.visitor import PATIENCE, READY, Tab, open_tab


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One `velatura ui` process for all tests; every browser context is another visitor."""
    process = Process(tmp_path_factory.mktemp("studio") / "outputs", before=MEASURED)
    yield process
    process.close()


@pytest.fixture(scope="session")
def tab(browser, studio: Process) -> Iterator[Tab]:
    """The tab of all visitors of that studio."""
    with open_tab(browser, studio.url) as opened:
        yield opened


@pytest.fixture
def page(tab: Tab) -> Iterator[Any]:
    """A fresh visitor's page on Train, 1280 px wide; a script that fails or a request that leaves fails the test."""
    with tab.visit() as opened:
        opened.goto(tab.url)
        opened.wait_for_selector(READY)
        yield opened


@pytest.fixture(scope="session")
def bare_tab(browser) -> Iterator[BareTab]:
    """The tab of all visitors of pages without a studio."""
    tab = BareTab(browser)
    yield tab
    tab.context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a failed test what its page shows, which nobody sees otherwise."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.when == "call" and report.failed and hasattr(page, "inner_text"):
        with suppress(Exception):  # the page may be what has failed
            page.set_default_timeout(5_000)
            report.sections.append(("What the page shows", f"{page.url}\n{page.inner_text('body')[:6_000]}"))
        page.set_default_timeout(PATIENCE)
    return report
