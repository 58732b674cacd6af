"""Fixtures of the training tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainers.runs import write_images


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three small captioned images; not to be written to."""
    return write_images(tmp_path_factory.mktemp("images") / "three")


@pytest.fixture(scope="module")
def quick_collection() -> Iterator[None]:
    """Leave what is imported out of garbage collections: every run makes two, and they would be half of its time."""
    import diffusers
    import transformers
    from accelerate import Accelerator

    assert diffusers.StableDiffusionPipeline and transformers.CLIPTextModel and Accelerator
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
