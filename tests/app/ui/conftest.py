"""A studio on this machine, and a real browser to look at it with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.app.ui.server import Process


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One `velatura ui` process for all tests; every browser context is another visitor."""
    process = Process(tmp_path_factory.mktemp("studio") / "outputs")
    yield process
    process.close()


@pytest.fixture
def page(browser, studio: Process) -> Iterator[object]:
    """A fresh visitor's page on Train, 1280 px wide; a script that fails or a request that leaves fails the test."""
    from tests.app.ui.visitor import new_page

    context, opened, complaints = new_page(browser, studio.url)
    yield opened
    context.close()
    assert complaints == []
