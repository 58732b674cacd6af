"""Several style files as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.trainers.formats.other_clients import MIXED, output, parts_of, write_trained
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.composition.merge import merge_files
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.formats.names import layer_names
from trainers.formats.origin import STARTER
from trainers.formats.read import Style, read_style
from trainers.formats.write.convert import is_plain
from trainers.models.load import load_model
from trainers.models.model import Model


@pytest.fixture(scope="module")
def model(tiny_bases) -> Model:
    return load_model(Base(model=str(tiny_bases["sd1"])), torch.float32, "cpu")


@pytest.fixture(scope="module")
def styles(model: Model, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Style, float]]:
    folder = tmp_path_factory.mktemp("styles")
    chosen = (("dusk", LoRA(rank=2, alpha=3.0), MIXED), ("ink", LoHA(rank=2, alpha=3.0), Targets(unet="attn")))
    for name, method, targets in chosen:
        metadata = {"velatura.family": "sd1", "velatura.trigger": f"{name} style", "ss_clip_skip": "2", "ss_seed": "4"}
        write_trained(folder / f"{name}.safetensors", model, method, targets, metadata)
    return [(read_style(folder / "dusk.safetensors"), 0.7), (read_style(folder / "ink.safetensors"), -0.5)]


def drawn_with(model: Model, *styles: tuple[Style, float]) -> torch.Tensor:
    network = apply_styles(parts_of(model), "sd1", styles)
    with torch.no_grad():
        found = output(model)
    network.remove()
    return found


def downs(file: Path) -> list[torch.Tensor]:
    return [tensors["lora_down.weight"] for tensors in read_style(file).layers.values()]


def test_the_exact_sum_draws_the_same(model, styles, tiny_trees, tmp_path):
    merged = merge_files(tmp_path / "both.safetensors", styles)
    both = read_style(tmp_path / "both.safetensors")
    assert is_plain(both) and merged.error == 0
    # In the middle block, 5 of one and 2² of the other.
    assert merged.rank == max(map(len, downs(tmp_path / "both.safetensors"))) == 9
    assert (drawn_with(model, (both, 1.0)) - drawn_with(model, *styles)).abs().max() <= 1e-5
    said = both.metadata
    assert json.loads(said["velatura.merged"]) == [
        {"name": "dusk", "strength": 0.7},
        {"name": "ink", "strength": -0.5},
    ]
    assert (said["velatura.trigger"], said["velatura.family"], said["ss_clip_skip"]) == (
        "dusk style, ink style",
        "sd1",
        "2",
    )
    assert said["ss_network_module"] == "networks.lora" and "ss_seed" not in said and "sshs_model_hash" in said


def test_a_layer_under_two_names_counts_once(model, styles, tiny_trees, tmp_path):
    """As `generate` has it."""
    dusk = styles[0][0]
    own = {key: tensor for key, tensor in dusk.tensors.items() if key.startswith("lora_unet_mid_block")}
    stem = next(key.partition(".")[0] for key in own if key.endswith("attn1_to_q.lora_up.weight"))
    other = f"unet.{layer_names(parts_of(model), 'sd1')[stem][1]}"
    again = {f"{other}.{key.partition('.')[2]}": tensor for key, tensor in own.items() if key.startswith(f"{stem}.")}
    twice = Style(Path("twice.safetensors"), own | again, dusk.metadata)
    assert other in twice.layers
    merge_files(tmp_path / "m.safetensors", [(twice, 1.0)], 64)
    both = read_style(tmp_path / "m.safetensors")
    assert (drawn_with(model, (both, 1.0)) - drawn_with(model, (twice, 1.0))).abs().max() <= 1e-5


def test_a_cut_says_what_it_loses(model, styles, tiny_trees, tmp_path):
    merged = merge_files(tmp_path / "cut.safetensors", styles, 3)
    network = apply_styles(parts_of(model), "sd1", styles)
    network.remove()
    squares = [torch.linalg.svdvals(site.dense().flatten(1)).square() for site in network.sites]
    expected = (sum(s[3:].sum() for s in squares) / sum(s.sum() for s in squares)) ** 0.5
    assert merged.error == pytest.approx(expected.item(), rel=1e-3) and 0.01 < merged.error < 1
    assert merged.rank == 3 and max(map(len, downs(tmp_path / "cut.safetensors"))) == 3
    whole = merge_files(tmp_path / "one.safetensors", styles[:1], 64)  # one style, of more ranks than it has
    assert whole.error <= 1e-5
    again = read_style(tmp_path / "one.safetensors")
    assert (drawn_with(model, (again, 1.0)) - drawn_with(model, styles[0])).abs().max() <= 1e-5


def test_what_cannot_be_merged(styles, tiny_trees, tmp_path):
    dusk = styles[0][0]
    starter = Style(Path("star.safetensors"), dusk.tensors, {**dusk.metadata, "velatura.fits_only": STARTER})
    dora = Style(Path("dora.safetensors"), {**dusk.tensors, "lora_unet_x.dora_scale": torch.ones(4, 1)}, dusk.metadata)
    for chosen, said in (
        (styles[:1], "merging needs several styles"),
        (
            [*styles, (starter, 1.0)],
            "dusk.safetensors was made for Stable Diffusion 1 and star.safetensors for",
        ),
        ([styles[0], (dora, 1.0)], "dora.safetensors cannot be merged into plain LoRA: it is a DoRA"),
    ):
        with pytest.raises(VelaturaError, match=said):
            merge_files(tmp_path / "x.safetensors", chosen)
    assert list(tmp_path.iterdir()) == []
    strange = {"lora_unet_x.lora_up.weight": torch.ones(4, 2), "lora_unet_x.lora_down.weight": torch.ones(2, 6)}
    save_file(strange, tmp_path / "strange.safetensors", {"velatura.family": "sd1"})
    with pytest.raises(VelaturaError, match="no base of its kind has its layer lora_unet_x"):
        merge_files(tmp_path / "x.safetensors", [(read_style(tmp_path / "strange.safetensors"), 1.0)], 1)
