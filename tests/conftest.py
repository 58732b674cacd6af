"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.base_hub import BaseHub, serving_base
from tests.browser import browser, chromium
from tests.forked import fork_server
from tests.quick_passwords import hash_quickly
from tests.shared import WORKER, make_once
from tests.tiny import FAMILIES, tiny_folder
from trainers.lazy_module import load_rarely_used

__all__ = ["browser", "chromium"]

# The same examples on every run, and however busy the machine is: what fails, fails again. `make explore` draws others.
LENIENT = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],  # a folder may be shared
}
settings.register_profile("steady", derandomize=True, database=None, **LENIENT)
settings.register_profile("explore", **LENIENT)
settings.load_profile("steady")


MARKS = {
    "browser": {"browser"},
    "process": {
        *("studio", "open_studio", "shared_studio", "place", "shared", "busy", "locked", "proxied", "dispatcher"),
        *("server", "fork_server", "edition", "caption_jobs", "trained", "sdxl_style"),
    },
    "slow": {"quick_runs", "quick", "tiny_bases", "tiny_trees", "flow_models", "flow_folders"},
}
"""What a test is by the fixtures that it uses; others say it themselves."""
STARTERS = {"Process", "begun", "fresh_process", "process", "subprocess", "run_in_node"}
"""What starts processes, by its name in a test's module."""


def pytest_configure() -> None:
    """Import and look for garbage as the product does or less, hash passwords quickly, run jobs without niceness.

    One of several workers also starts what its processes are forked from, while it has one thread at work.
    """
    gc.set_threshold(100_000, 20, 100)
    load_rarely_used()
    hash_quickly()
    os.environ.setdefault("VELATURA_JOB_NICENESS", "0")
    if WORKER in os.environ:
        fork_server()


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of collections, each of which would go through torch's million objects."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Spare what is imported the collections with which pytest ends, which take some seconds in each worker."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they use; begin with the files that take longest, so that no worker is left with one alone."""
    for item in items:
        if "/tools/" in item.nodeid:
            item.add_marker("slow")
        if "/tools/starter/" in item.nodeid:  # how the bundled base was made
            item.add_marker("thorough")
        used, function = set(item.fixturenames), item.function
        if STARTERS & function.__globals__.keys() & set(function.__code__.co_names):  # attributes' names are there, too
            item.add_marker("process")
        for mark, fixtures in MARKS.items():
            if used & fixtures:
                item.add_marker(mark)
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def tiny_bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny random bases in diffusers layout, by `sd1`, `sd2`, `sd2-v`, `sdxl`; not to be written to."""

    def make(root: Path) -> None:
        for family in FAMILIES:
            tiny_folder(family, root / family)

    root = make_once(tmp_path_factory, "bases", make)
    return {family: root / family for family in FAMILIES}


@pytest.fixture
def base_hub(tiny_bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseHub]:
    """A hub that has a base, for this process and those that it starts; nobody is logged in, and nothing is here."""
    with serving_base(tiny_bases["sd1"]) as hub:
        places = {"HF_HUB_CACHE": "cache", "HF_TOKEN_PATH": "token", "HF_STORED_TOKENS_PATH": "stored_tokens"}
        for name, place in places.items():
            monkeypatch.setenv(name, str(tmp_path / "hub" / place))
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", str(tmp_path / "hub" / place))
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


@pytest.fixture
def tiny_trees(tiny_bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let single files be loaded with the tiny bases' configs instead of the real sizes'."""
    root = tiny_bases["sd1"].parent
    monkeypatch.setattr("trainers.models.files.configs.CONFIGS", root)
    return root
