"""A studio on this machine, and a real browser to look at it with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.ui.drafts import Drafts
from app.ui.places import Places
from app.ui.queue import Queue
from tests.app.ui.server import Process

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    """The drafts of a studio that nobody has used yet."""
    places = Places(tmp_path / "outputs")
    places.make()
    return Drafts(places)


def find_browser() -> str | None:
    return next((found for name in CHROMIUM if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program. On Debian, as root, it is installed; elsewhere tests that need it are skipped."""
    found = find_browser()
    if not found and os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 540}
        subprocess.run(["apt-get", "update"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", "chromium"], **quiet)
        found = find_browser()
    if found:
        return found
    reason = "there is no Chromium: install it (`apt-get install chromium`) to run the browser tests"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[object]:
    """Chromium without a window; one for all tests, each of which opens its own context."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that a container's root does not have.
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


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
    return Queue(drafts.places)
