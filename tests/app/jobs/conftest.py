"""A queue of quick real runs on a tiny base."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from app.jobs.processes.fork_server import ForkServer
from app.studio.job_modules import JOB_MODULES
from tests import forked
from tests.app.jobs.uncut import long_run
from tests.shared import make_once
from tests.trainers.conftest import images
from tests.trainers.tiny_runs import quick_settings
from tests.waiting import wait_until
from trainers.config.build import dump_config
from trainers.config.config import Config
from trainers.runs.run import Run

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
    if forked.has_their_threads():
        yield forked.fork_server()
    else:
        server = ForkServer((*JOB_MODULES.imports, *JOB_MODULES.later_imports))
        yield server
        server.close()


@pytest.fixture(scope="session")
def uncut(quick: Callable[..., Config], fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`long_run` without a cut, trained by a process like the queue's; not to be written to.

    In this one tensors lie elsewhere in memory, and some processors then add up in another order.
    """

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "config.toml").write_text(dump_config(long_run(quick)), encoding="utf-8")
        words = ["train", str(folder / "config.toml"), "--out", str(folder)]
        child = fork_server.start("app.cli", words, folder / "log", {"OMP_NUM_THREADS": str(torch.get_num_threads())})
        wait_until(lambda: child.exit_code() is not None, "it does not end")
        assert child.exit_code() == 0, (folder / "log").read_text(encoding="utf-8")
        child.collect()

    return Run(make_once(tmp_path_factory, "uncut", make) / "dusk")
