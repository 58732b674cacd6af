"""Training that starts from a style file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainers.formats.other_clients import MIXED, output, parts_of, write_trained
from tests.trainers.hurry import without_pictures
from tests.trainers.tiny_runs import one, quick_settings, write_images
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import Network, attach
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.composition.start import start_from
from trainers.config.build import build_config
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.formats.read import read_style
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.runs.events import read_events
from trainers.runs.run import open_run
from trainers.training.prepare import prepare
from trainers.training.train import resume

WIDE = Targets(unet="full", text_encoder="attn-mlp")


@pytest.fixture(scope="module")
def model(tiny_bases) -> Model:
    return load_model(Base(model=str(tiny_bases["sd1"])), torch.float32, "cpu")


@pytest.fixture(scope="module")
def dusk(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of rank 5 in the middle block and of rank 2 elsewhere, with an alpha of its own."""
    return write_trained(tmp_path_factory.mktemp("styles") / "dusk.safetensors", model, LoRA(rank=2, alpha=3.0), MIXED)


def started(model: Model, file: Path, method: LoRA, targets: Targets = WIDE) -> Network:
    network = attach(parts_of(model), method, targets, seed=1)
    try:
        start_from(read_style(file), network, parts_of(model), "sd1")
    except VelaturaError:
        network.remove()
        raise
    return network


@pytest.mark.parametrize("method", [LoRA(rank=5, alpha=1.0), LoRA(rank=8, alpha=16.0, rslora=True)])
def test_the_first_step_finds_the_style_as_it_is(model: Model, dusk: Path, method: LoRA) -> None:
    applied = apply_styles(parts_of(model), "sd1", [(read_style(dusk), 1.0)])
    expected = output(model).detach()
    applied.remove()
    network = started(model, dusk, method)
    found = output(model).detach()
    network.holder.strength = 0
    bare = output(model).detach()
    network.remove()
    assert (found - expected).abs().max() <= 1e-5 < 1e-3 < (bare - expected).abs().max()


def test_components_that_the_file_lacks_start_as_ever(model: Model, dusk: Path) -> None:
    network = started(model, dusk, LoRA(rank=8, alpha=8.0))
    fresh = attach(parts_of(model), LoRA(rank=8, alpha=8.0), WIDE, seed=1)
    for mine, ever in zip(network.sites, fresh.sites, strict=True):
        theta, other = mine.placed[0].theta, ever.placed[0].theta
        assert torch.equal(theta["A"][5:], other["A"][5:]) and not theta["B"][:, 5:].any()
    network.remove()
    fresh.remove()


def test_what_would_be_lost_is_refused(model: Model, dusk: Path, tmp_path: Path) -> None:
    with pytest.raises(VelaturaError, match=r"dusk\.safetensors has rank 5 .* method\.rank"):
        started(model, dusk, LoRA(rank=4, alpha=4.0))
    with pytest.raises(VelaturaError, match=r"also changes \d+ layers .* such as lora_"):
        started(model, dusk, LoRA(rank=5, alpha=4.0), Targets(unet="attn"))
    ink = write_trained(tmp_path / "ink.safetensors", model, LoHA(rank=2, alpha=2.0), Targets(unet="attn"))
    with pytest.raises(VelaturaError, match="not plain LoRA"):
        started(model, ink, LoRA(rank=5, alpha=4.0))
    save_file(load_file(dusk), tmp_path / "other.safetensors", {"velatura.family": "sd2"})
    with pytest.raises(VelaturaError, match=r"other\.safetensors was made for Stable Diffusion 2, and this base is"):
        started(model, tmp_path / "other.safetensors", LoRA(rank=5, alpha=4.0))
    for table in (
        one("method.name", "loha"),
        one("method.dora", True),
        one("method.tucker", True),
        one("method.start", "pissa"),
    ):
        with pytest.raises(VelaturaError, match=r"train\.start_from needs plain LoRA"):
            build_config({"name": "x", "train": {"start_from": "a.safetensors"}}, table)


def test_a_run_keeps_the_style_that_it_starts_from(model: Model, tiny_bases, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    file = write_trained(tmp_path / "ink.safetensors", model, LoRA(rank=3, alpha=3.0), Targets(unet="cross-kv"))
    before = {name: update.dense() for name, update in read_style(file).modules().items()}
    slow = {"train": {"start_from": str(file), "learning_rate": 1e-9, "steps": 1}}
    run = prepare(quick_settings(tiny_bases["sd1"], images, slow), tmp_path / "runs")
    file.unlink()
    assert Path(run.config().train.start_from) == run.start
    with without_pictures():
        result = resume(open_run(run.folder))
    assert result.style is not None
    after = read_style(result.style).modules()
    assert after.keys() == before.keys()
    assert max(float((after[name].dense() - before[name]).abs().max()) for name in before) < 1e-6
    notes = [event["message"] for event in read_events(run.folder) if event["type"] == "note"]
    assert any("starts from" in note for note in notes)
    with pytest.raises(VelaturaError, match="no style file"):
        prepare(quick_settings(tiny_bases["sd1"], images, slow, {"name": "other"}), tmp_path / "runs")
    assert not (tmp_path / "runs" / "other").exists()
