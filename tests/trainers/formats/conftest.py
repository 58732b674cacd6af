"""The tiny bases, loaded once for the tests of style files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers.config.config import Base
from trainers.models.load import load_model
from trainers.models.model import Model


@pytest.fixture(scope="session")
def bases(tiny_bases: dict[str, Path]) -> dict[str, Model]:
    """Tiny models in fp32 by `sd1`, `sd2`, `sdxl`; not to be changed."""
    return {
        name: load_model(Base(model=str(tiny_bases[name])), torch.float32, "cpu") for name in ("sd1", "sd2", "sdxl")
    }
