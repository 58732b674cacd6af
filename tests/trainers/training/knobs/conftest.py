"""The bench on which settings are tried, one for each file of tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainers.training.knobs.bench import Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path], quick_runs: None) -> Bench:
    return Bench(tmp_path_factory.mktemp("knobs"), tiny_bases["sd1"])
