"""Fixtures of the starter's build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tools.starter.small import draw_few
from tools.starter.drawings.tokens import make_tokenizer


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hand-made drawings of all sets; not to be written to."""
    return draw_few(tmp_path_factory.mktemp("drawings"))


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """The starter's tokenizer."""
    return make_tokenizer()


@pytest.fixture
def every_step_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stage log each step."""
    monkeypatch.setattr("tools.starter.networks.stage.LOG_EVERY", 1)
