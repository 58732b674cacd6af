"""A studio on this machine, and a real browser to look at it with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.ui.server import Process
from tests.app.ui.visitor import READY, Tab, open_tab


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One `velatura ui` process for all tests; every browser context is another visitor."""
    process = Process(tmp_path_factory.mktemp("studio") / "outputs")
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
