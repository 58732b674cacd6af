"""The tiny flow-matching bases, loaded once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from tests.shared import make_once
from tests.tiny_flow import FLOWS, tiny_flow_folder
from trainers.config.sections import Base
from trainers.models.load import load_model
from trainers.models.model import Model

PACKED = ("flux", "chroma")
"""Families that read packed latents."""


@pytest.fixture(scope="session")
def flow_folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders of tiny bases in diffusers layout by family; not to be written to."""

    def make(root: Path) -> None:
        for family in FLOWS:
            tiny_flow_folder(family, root / family)

    root = make_once(tmp_path_factory, "flows", make)
    return {family: root / family for family in FLOWS}


@pytest.fixture(scope="session")
def flow_models(flow_folders: Mapping[str, Path]) -> Mapping[str, Model]:
    """The same in fp32; not to be changed."""
    return {name: load_model(Base(model=str(path)), torch.float32, "cpu") for name, path in flow_folders.items()}


@pytest.fixture(scope="session")
def packed_folders(flow_folders: Mapping[str, Path]) -> dict[str, Path]:
    """Those of Flux.1 and Chroma."""
    return {family: flow_folders[family] for family in PACKED}


@pytest.fixture(scope="session")
def packed_models(flow_models: Mapping[str, Model]) -> dict[str, Model]:
    """Those of Flux.1 and Chroma."""
    return {family: flow_models[family] for family in PACKED}
