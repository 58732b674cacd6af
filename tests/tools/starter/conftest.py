"""Fixtures of the starter's build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tools.starter.small import draw_few, make_small_autoencoder
from tools.starter.drawings.tokens import make_tokenizer
from tools.starter.networks.lessons import Lessons, prepare_lessons


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hand-made drawings of all sets; not to be written to."""
    return draw_few(tmp_path_factory.mktemp("drawings"))


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """The starter's tokenizer."""
    return make_tokenizer()


@pytest.fixture(scope="session")
def autoencoder() -> Any:
    """A thin autoencoder of random values; not to be trained."""
    torch.manual_seed(0)
    return make_small_autoencoder().eval()


@pytest.fixture(scope="session")
def lessons_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `lessons` keeps what it has encoded."""
    return tmp_path_factory.mktemp("lessons")


@pytest.fixture(scope="session")
def lessons(lessons_folder: Path, drawings: Path, autoencoder: Any) -> Lessons:
    """The lessons of the hand-made drawings."""
    return prepare_lessons(lessons_folder, drawings, autoencoder, torch.device("cpu"))


@pytest.fixture
def every_step_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stage log each step."""
    monkeypatch.setattr("tools.starter.networks.stage.LOG_EVERY", 1)
