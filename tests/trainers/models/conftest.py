"""The tiny bases, loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers.config.sections import Base
from trainers.models.load import load_model
from trainers.models.model import Model


@pytest.fixture(scope="session")
def tiny_models(tiny_bases: dict[str, Path]) -> dict[str, Model]:
    """Tiny models in fp32 by `sd1`, `sd2`, `sd2-v`, `sdxl`; not to be changed."""
    return {name: load_model(Base(model=str(path)), torch.float32, "cpu") for name, path in tiny_bases.items()}


@pytest.fixture(scope="session")
def starter() -> Model:
    """The bundled base in fp32; not to be changed."""
    return load_model(Base(), torch.float32, "cpu")
