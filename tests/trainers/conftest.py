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
from trainers.process.threads import COUNTS

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


@pytest.fixture
def nothing_else_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a test starts is counted, and no number of threads is set in the environment."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in COUNTS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def loaded_bases(tiny_bases: dict[str, Path]) -> tuple[dict[str, Model], dict[str, object]]:
    """The models of `bases`, and their traits."""
    import torch

    from trainers.models.load import load_model

    names = ("sd1", "sd2", "sdxl")
    models = {name: load_model(Base(model=str(tiny_bases[name])), torch.float32, "cpu") for name in names}
    return models, traits_of(models)


@pytest.fixture(scope="module")
def bases(loaded_bases: tuple[dict[str, Model], dict[str, object]]) -> Iterator[dict[str, Model]]:
    """Tiny models in fp32 by `sd1`, `sd2`, `sdxl`, which no module may leave changed for the next."""
    models, traits = loaded_bases
    yield models
    after = traits_of(models)
    assert {name: after.get(name) for name in traits if after.get(name) != traits[name]} == {}


def traits_of(models: Mapping[str, Model]) -> dict[str, object]:
    """By layer, its numbers, hooks and mode; and torch's settings that all tests share."""
    import torch

    traits: dict[str, object] = {
        "torch": (torch.get_default_dtype(), torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled())
    }
    for name, model in models.items():
        for part, network in {**model.parts, "vae": model.vae}.items():
            for path, module in network.named_modules():
                tensors = {**module._parameters, **module._buffers}
                traits[f"{name} {part}.{path}"] = (
                    {
                        each: (t.dtype, t.requires_grad, t.double().sum())
                        for each, t in tensors.items()
                        if t is not None
                    },
                    # those with which transformers captures hidden states stay, and do nothing between
                    [
                        hook
                        for hook in module._forward_hooks.values()
                        if not hook.__module__.startswith("transformers.")
                    ],
                    [*module._forward_pre_hooks.values()],
                    ("forward" in vars(module), module.training, type(module), getattr(module, "processor", None)),
                )
    return traits
