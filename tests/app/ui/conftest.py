"""A studio on this machine, and a real browser to look at it with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.studio.dataset.drafts import Drafts
from app.studio.paths import Paths
from app.studio.queue import Queue
from tests.app.ui.server import Process


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    """The drafts of a studio that nobody has used yet."""
    paths = Paths(tmp_path / "outputs")
    paths.make()
    return Drafts(paths)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One `velatura ui` process for all tests; every browser context is another visitor."""
    process = Process(tmp_path_factory.mktemp("studio") / "outputs")
    yield process
    process.stop()


@pytest.fixture
def page(browser, studio: Process) -> Iterator[object]:
    """A fresh visitor's page on Train, 1280 px wide; a script that fails or a request that leaves fails the test."""
    from tests.app.ui.visitor import new_page

    context, opened, complaints = new_page(browser, studio.url)
    yield opened
    context.close()
    assert complaints == []


@pytest.fixture
def anonymous(tmp_path: Path) -> str:
    """A name for a draft in unit tests."""
    return re.sub(r"\W", "", tmp_path.name)


@pytest.fixture
def queue(drafts: Drafts) -> Queue:
    """The empty queue of the same studio, as pages read it."""
    return Queue(drafts.paths)
