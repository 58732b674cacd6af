"""Training that starts from a style file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainers.formats.other_clients import MIXED, output, parts_of, write_trained
from tests.trainers.hurry import without_pictures
from tests.trainers.tiny_runs import one, quick_settings, write_images
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import Network, attach
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.composition.start import start_from
from trainers.config.build import build_config
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.formats.names import layer_names
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


def started(model: Model, file: Path, method: LayerMethod, targets: Targets = WIDE) -> Network:
    network = attach(parts_of(model), method, targets, seed=1)
    try:
        network.started = start_from(read_style(file), network, parts_of(model), "sd1")
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


ATTENTION = Targets(unet="attn")
FORMS = {
    "loha": LoHA(rank=2, alpha=3.0),
    "lokr": LoKr(rank=2, alpha=1.0, factor=4),
    "lokr-low-rank": LoKr(rank=2, alpha=3.0, factor=4, full_matrix=False),
}


@pytest.mark.parametrize("name", FORMS)
def test_its_own_form_starts_as_it_is(model: Model, tmp_path: Path, name: str) -> None:
    file = write_trained(tmp_path / "ink.safetensors", model, FORMS[name], ATTENTION)
    changes = {layer: update.dense() for layer, update in read_style(file).modules().items()}
    network = started(model, file, replace(FORMS[name], alpha=2.0), ATTENTION)
    found = {site.path: site.dense() for site in network.sites}
    network.remove()
    assert len(found) == len(changes) and network.started.error == 0
    for change in found.values():
        assert any(c.shape == change.shape and torch.allclose(c, change, atol=1e-6) for c in changes.values())


@pytest.mark.parametrize("name", [*FORMS, "lora"])
def test_lora_starts_from_the_nearest_matrix_of_its_rank(model: Model, tmp_path: Path, name: str) -> None:
    method = FORMS.get(name, LoRA(rank=6, alpha=6.0))
    file = write_trained(tmp_path / "ink.safetensors", model, method, ATTENTION)
    network = started(model, file, LoRA(rank=3, alpha=5.0), ATTENTION)
    style, missing, whole = read_style(file), 0.0, 0.0
    names = layer_names(parts_of(model), "sd1")
    for site in network.sites:
        stem = style.layers_on(names)[site.part, site.path]
        wanted = style.update(stem, site.weight()).dense(site.weight()).flatten(1)
        U, S, Vh = torch.linalg.svd(wanted, full_matrices=False)
        torch.testing.assert_close(site.dense().flatten(1), (U[:, :3] * S[:3]) @ Vh[:3], rtol=1e-3, atol=1e-5)
        missing, whole = missing + S[3:].square().sum().item(), whole + S.square().sum().item()
    network.remove()
    assert network.started.error == pytest.approx((missing / whole) ** 0.5, rel=1e-2) and network.started.error > 0.01


def test_components_that_the_file_lacks_start_as_ever(model: Model, dusk: Path) -> None:
    network = started(model, dusk, LoRA(rank=8, alpha=8.0))
    fresh = attach(parts_of(model), LoRA(rank=8, alpha=8.0), WIDE, seed=1)
    for mine, ever in zip(network.sites, fresh.sites, strict=True):
        theta, other = mine.placed[0].theta, ever.placed[0].theta
        assert torch.equal(theta["A"][5:], other["A"][5:]) and not theta["B"][:, 5:].any()
    network.remove()
    fresh.remove()


def test_what_would_be_lost_is_refused(model: Model, dusk: Path, tmp_path: Path) -> None:
    with pytest.raises(VelaturaError, match=r"also changes \d+ layers .* such as lora_"):
        started(model, dusk, LoRA(rank=5, alpha=4.0), Targets(unet="attn"))
    ink = write_trained(tmp_path / "ink.safetensors", model, LoHA(rank=2, alpha=2.0), Targets(unet="attn"))
    for method in (LoHA(rank=3, alpha=3.0), LoKr(rank=2)):
        with pytest.raises(VelaturaError, match=r"has other factors in .* than .* or method\.name = lora"):
            started(model, ink, method)
    save_file(load_file(dusk), tmp_path / "other.safetensors", {"velatura.family": "sd2"})
    with pytest.raises(VelaturaError, match=r"other\.safetensors was made for Stable Diffusion 2, and this base is"):
        started(model, tmp_path / "other.safetensors", LoRA(rank=5, alpha=4.0))
    for table in (
        one("method.name", "oft"),
        one("method", {"name": "loha", "tucker": True}),
        one("method.dora", True),
        one("method.tucker", True),
        one("method.start", "pissa"),
    ):
        with pytest.raises(VelaturaError, match=r"train\.start_from needs plain lora, loha or lokr"):
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
