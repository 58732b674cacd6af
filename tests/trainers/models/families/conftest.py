"""The tiny bases of Flux.1 and Chroma, loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.shared import make_once
from tests.tiny_flow import tiny_flow_folder
from trainers.config.sections import Base
from trainers.models.load import load_model
from trainers.models.model import Model

PACKED = ("flux", "chroma")
"""Families that read packed latents."""


@pytest.fixture(scope="session")
def packed_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny bases in diffusers layout, by `flux`, `chroma`; not to be written to."""

    def make(root: Path) -> None:
        for family in PACKED:
            tiny_flow_folder(family, root / family)

    root = make_once(tmp_path_factory, "packed", make)
    return {family: root / family for family in PACKED}


@pytest.fixture(scope="session")
def packed_models(packed_folders: dict[str, Path]) -> dict[str, Model]:
    """The same in fp32; not to be changed."""
    return {name: load_model(Base(model=str(path)), torch.float32, "cpu") for name, path in packed_folders.items()}
