"""What tests of the steps of Train have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.studio.paths import Paths
from app.studio.services import Services, open_services


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """The services of a studio without any runs."""
    paths = Paths(tmp_path / "outputs")
    paths.make()
    found = open_services(paths, tmp_path / "uploads")
    yield found
    found.close()
