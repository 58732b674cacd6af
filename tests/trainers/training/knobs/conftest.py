"""The bench on which settings are tried, one for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainers.training.knobs.bench import Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path], quick_runs: None) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("knobs"), tiny_bases["sd1"])
    yield made
    made.check_bases()
