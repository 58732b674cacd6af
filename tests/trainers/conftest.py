"""Fixtures of the training tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.trainers.hurry import hurrying, without_pictures
from tests.trainers.tiny_runs import quick_settings, write_images
from trainers.config.config import Config
from trainers.config.sections import Base

if TYPE_CHECKING:
    from trainers.models.model import Model


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three small captioned images; not to be written to."""
    return write_images(tmp_path_factory.mktemp("images") / "three")


@pytest.fixture(scope="session")
def quick(tiny_bases: dict[str, Path], images: Path) -> Callable[..., Config]:
    """Settings of a quick run on the tiny SD 1, with tables laid over them."""

    def settings(*layers: Mapping[str, Any]) -> Config:
        return quick_settings(tiny_bases["sd1"], images, *layers)

    return settings


@pytest.fixture(scope="module")
def quick_runs() -> Iterator[None]:
    """Let runs in this process take half of their time."""
    with hurrying():
        yield


@pytest.fixture
def no_pictures(quick_runs: None) -> Iterator[None]:
    """Let runs in this process draw no pictures, which takes more than half of a quick run."""
    with without_pictures():
        yield


@pytest.fixture(scope="session")
def bases(tiny_bases: dict[str, Path]) -> dict[str, Model]:
    """Tiny models in fp32 by `sd1`, `sd2`, `sdxl`; not to be changed."""
    import torch

    from trainers.models.load import load_model

    return {
        name: load_model(Base(model=str(tiny_bases[name])), torch.float32, "cpu") for name in ("sd1", "sd2", "sdxl")
    }
