"""The browser of the tests: Debian's Chromium through Playwright, one for a whole session."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


# Chromium's own sandbox needs rights that a container's root does not have. No page of a test lives long enough for its
# scripts to be worth optimizing, or for their memory to be needed back.
LAZY = "--max-lazy --no-opt --no-maglev --single-threaded --min-semi-space-size=64 --initial-heap-size=1024"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", f"--js-flags={LAZY}")

PATIENCE = 60_000
"""Milliseconds for which a test expects a state of a page: Playwright's own five seconds are few on a slow machine."""


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
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield opened
        opened.close()
