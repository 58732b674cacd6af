"""A queue of quick real runs on a tiny base."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.jobs.processes.fork_server import ForkServer
from app.studio.job_modules import JOB_MODULES
from tests.app.ui import server as studios
from tests.trainers.conftest import images
from tests.trainers.tiny_runs import quick_settings
from trainers.config.config import Config

__all__ = ["images", "quick"]


@pytest.fixture(scope="session")
def quick(tiny_bases: dict[str, Path], images: Path) -> Callable[..., Config]:
    """Settings of a quick run called as given, on the tiny SD 1, with tables laid over them."""

    def settings(name: str, *layers: Mapping[str, Any]) -> Config:
        return quick_settings(tiny_bases["sd1"], images, {"name": name}, *layers)

    return settings


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """One for the dispatchers of a worker's tests, so that libraries are imported once; that of its studios, if fit."""
    if os.environ.get("OMP_NUM_THREADS") == studios.IMPORTED_WITH["OMP_NUM_THREADS"]:
        yield studios.fork_server()
    else:
        server = ForkServer((*JOB_MODULES.imports, *JOB_MODULES.later_imports))
        yield server
        server.close()
