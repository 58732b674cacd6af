"""What is exported draws the same picture in Velatura, in diffusers and in LyCORIS as the live network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.trainers.formats.other_clients import (
    cut,
    in_diffusers,
    in_lycoris,
    mixed_for,
    output,
    parts_of,
    trained,
)
from tests.trainers.tiny_runs import methods_without_form
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.adalora import AdaLoRA
from trainers.adapters.methods.bitfit import BitFit
from trainers.adapters.methods.dylora import DyLoRA
from trainers.adapters.methods.full import Full
from trainers.adapters.methods.ia3 import IA3
from trainers.adapters.methods.krona import KronA
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.methods.selora import SeLoRA
from trainers.adapters.methods.sora import SoRA
from trainers.adapters.methods.ssf import SSF
from trainers.adapters.methods.tied import TiedLoRA
from trainers.adapters.methods.vera import VeRA
from trainers.adapters.targets import Targets, select
from trainers.composition.apply import apply_styles
from trainers.formats.read import read_style
from trainers.formats.write.core import file_updates, write_style
from trainers.formats.write.diffusers import describe_loading, diffusers_kind, write_for_diffusers
from trainers.models.model import Model

pytestmark = [pytest.mark.long, pytest.mark.slow]

# Never α = r. One row for every way a method is written, and the kind of file that diffusers needs for it.
VARIANTS: dict[str, tuple[LayerMethod, str]] = {
    "lora": (LoRA(rank=3, alpha=2.0), "core"),
    "dora": (LoRA(rank=3, alpha=2.0, dora=True), "dora"),
    "loha": (LoHA(rank=3, alpha=2.0, tucker=True), "lora"),
    "lokr": (LoKr(rank=3, alpha=2.0, factor=4), "lokr"),
    "lokr-low": (LoKr(rank=2, alpha=3.0, factor=4, full_matrix=False, decompose_both=True, tucker=True), "lora"),
}
# Methods that share these structures.
OWN: dict[str, tuple[LayerMethod, str]] = {
    "tucker": (LoRA(rank=3, alpha=2.0, tucker=True), "core"),
    "lokr-paper": (LoKr(rank=3, alpha=2.0, factor=16, paper_split=True), "lokr"),
    "pissa": (LoRA(rank=3, alpha=2.0, start="pissa"), "core"),
    "krona": (KronA(scale=0.7), "lokr"),
    "vera": (VeRA(rank=6, d_initial=0.3), "core"),
    "tied": (TiedLoRA(rank=3, alpha=2.0), "core"),
    "dylora": (DyLoRA(rank=4, alpha=3.0, kept_rank=3), "core"),
    "adalora": (AdaLoRA(rank=3, alpha=40.0, target_rank=2), "core"),
    "sora": (SoRA(rank=3, alpha=2.0), "core"),
    "selora": (SeLoRA(rank=3, alpha=0.7), "core"),
    "oft": (OFT(block_size=32), "none"),
    "boft": (OFT(block_size=4, butterfly=True), "none"),
    "ia3": (IA3(), "none"),
    "ssf": (SSF(), "none"),
    "bitfit": (BitFit(), "none"),
    "full": (Full(), "lora"),
    "full-extracted": (Full(extract_rank=1024), "core"),  # more than any layer has, so that nothing is left out
}
KINDS = {"diffusers": "core", "second-file": "lora", "programs": "none"}
"""The kind of file of a method without a row, by the programs that open its files."""
ROWS = [method for method, _ in (*VARIANTS.values(), *OWN.values())]
OWN |= {
    name: (method, KINDS[method.about.opens_in]) for name, method in methods_without_form(ROWS).items() if method.merges
}
VARIANTS |= OWN
# SDXL has other names and two text encoders: each structure on both families, the methods that share one on either, and
# on both what changes norms and biases, which have names of their own. SD 2 differs from SD 1 in linear projections.
EVERYWHERE = [*(v for v in VARIANTS if v not in OWN), "ssf", "bitfit", "full"]
CASES = [f"{family}/{variant}" for variant in EVERYWHERE for family in ("sd1", "sdxl")]
CASES += [f"{('sd1', 'sdxl')[n % 2]}/{variant}" for n, variant in enumerate(OWN) if variant not in EVERYWHERE]
CASES += [f"sd2/{variant}" for variant in ("lora", "lokr", "ssf")]
AGAIN = (
    "sdxl/dora",
    "sdxl/loha",
    "sdxl/lokr-low",
    "sd2/ssf",
    "/lokr-paper",
    "/krona",
    "/vera",
    "/tied",
    "/dylora",
    "/selora",
    "/adalora",
    "/sora",
    "/pissa",
    "/tucker",
    "/full-extracted",
    "sd2/lokr",
    "sd1/full",
    "sd1/lokr",
    "sdxl/bitfit",
    "sdxl/lora",
    "sdxl/ssf",
    "sdxl/boft",
)
"""What is written as in another case, or with another's names; `make test` leaves it to that one."""


@dataclass(frozen=True)
class Exported:
    model: Model
    kind: str
    bare: Tensor
    live: Tensor
    core: Path
    second: Path | None
    sites: int
    advice: str

    @property
    def rounding(self) -> float:
        """What fp32 may make of numbers of this size."""
        return 1e-5 * max(1.0, self.live.abs().max().item())


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, marks=pytest.mark.thorough if case.endswith(AGAIN) else ()) for case in CASES],
)
def exported(request: pytest.FixtureRequest, bases: dict[str, Model], tmp_path_factory) -> Iterator[Exported]:
    family, variant = request.param.split("/")
    model, (method, kind) = bases[family], VARIANTS[variant]
    folder = tmp_path_factory.mktemp("styles")
    core, other = folder / "style.safetensors", folder / "style.diffusers.safetensors"
    bare = output(model)
    network = trained(model, method, mixed_for(method))
    cut(network)
    live = output(model)
    config = model.denoiser.config
    write_style(core, network, family, config, {"ss_output_name": "style"}, "fp32")
    second = write_for_diffusers(other, network, family, config, {"ss_output_name": "style"}, "fp32")
    assert diffusers_kind(network, model.family.name) == kind
    network.remove()
    assert torch.equal(output(model), bare)
    sites = len(file_updates(network))
    assert (sites < len(network.sites)) == (variant in ("adalora", "sora"))
    yield Exported(model, kind, bare, live, core, second, sites, describe_loading(network, core, second, family))


def test_the_change_is_large_enough_to_be_missed(exported):
    assert (exported.live - exported.bare).abs().max() > 0.3


@pytest.mark.parametrize("which", ["core", "second"])
def test_velatura_reads_it_back(exported, which):
    file = getattr(exported, which)
    if file is None:
        assert exported.kind in ("core", "none")
        return
    loaded = apply_styles(parts_of(exported.model), exported.model.family.name, [(read_style(file), 1.0)])
    found = output(exported.model)
    loaded.remove()
    assert loaded.warnings == []
    assert (found - exported.live).abs().max() <= exported.rounding


def test_diffusers_draws_the_same(exported):
    if exported.kind == "none":
        assert "diffusers has no form for this method" in exported.advice
        return
    file = exported.second or exported.core
    apart = (in_diffusers(exported.model, file) - exported.live).abs()
    differ = (apart > exported.rounding).nonzero()[:, 0].tolist()
    assert not differ, f"{len(differ)} of {len(apart)} numbers differ, from {differ[0]} on, by up to {apart.max():.2g}"
    assert file.name in exported.advice


def test_lycoris_draws_the_same(exported):
    found, layers = in_lycoris(exported.model, exported.core)
    keys = load_file(exported.core)
    stems = {key.split(".")[0] for key in keys}
    assert layers == len(stems) > exported.sites  # the attention projections that were not trained are there too
    shifted = any(key.endswith("rescale") for key in keys) and any(key.endswith("diff_b") for key in keys)
    assert (
        (found - exported.live).abs().max() <= exported.rounding
    ) != shifted  # it does not read a scale and a shift of one layer


@pytest.mark.parametrize("patterns", [("*.fc1",), ("*.v_proj",)])
@pytest.mark.parametrize("dora", [False, True])
def test_text_encoder_alone_loads_in_diffusers(bases, tmp_path, dora, patterns):
    model = bases["sd1"]
    targets = Targets(unet="none", text_encoder=patterns)
    network = trained(model, LoRA(rank=2, alpha=3.0, dora=dora), targets)
    live = output(model)
    arguments = (network, "sd1", model.denoiser.config, {}, "fp32")
    write_style(tmp_path / "a.safetensors", *arguments)
    second = write_for_diffusers(tmp_path / "b.safetensors", *arguments)
    network.remove()
    assert (output(model) - live).abs().max() > 1e-2
    assert (in_diffusers(model, second or tmp_path / "a.safetensors") - live).abs().max() <= 1e-5


def test_no_draw_leaves_out_a_layer_that_diffusers_has_loaded(bases, tmp_path, monkeypatch):
    model = bases["sd1"]
    network = trained(model, LoKr(rank=3, alpha=2.0, factor=4))
    live = output(model)
    file = write_for_diffusers(tmp_path / "a.safetensors", network, "sd1", model.denoiser.config, {}, "fp32")
    network.remove()
    monkeypatch.setattr(torch, "rand", torch.zeros)
    assert file is not None and (in_diffusers(model, file) - live).abs().max() <= 1e-5 * live.abs().max()


def test_lokr_whose_splits_peft_does_not_know_becomes_plain_lora(bases, tmp_path):
    model = bases["sd1"]
    network = trained(model, LoKr(rank=3, alpha=2.0, factor=16), Targets(unet=("*.to_q", "*.ff.*", "*.conv1")))
    live = output(model)
    assert diffusers_kind(network, "sd1") == "lora"
    file = write_for_diffusers(tmp_path / "a.safetensors", network, "sd1", model.denoiser.config, {}, "fp32")
    network.remove()
    assert file is not None and (in_diffusers(model, file) - live).abs().max() <= 1e-5


def test_lokr_next_to_layers_cut_to_a_rank_becomes_plain_lora(bases, tmp_path):
    model = bases["sd1"]
    network = trained(model, LoKr(rank=3, alpha=2.0, factor=4), Targets(unet=("*.to_q",), text_encoder="none"))
    keys = Targets(unet=("*.attn1.to_k",), text_encoder="none")
    network.place(select(parts_of(model), Full(extract_rank=32), keys), seed=8)  # all of their rank
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05)
    live = output(model)
    assert diffusers_kind(network, "sd1") == "lora"
    file = write_for_diffusers(tmp_path / "a.safetensors", network, "sd1", model.denoiser.config, {}, "fp32")
    network.remove()
    assert file is not None and (in_diffusers(model, file) - live).abs().max() <= 1e-5


def test_a_plain_form_of_gigabytes_is_not_written(bases, tmp_path, monkeypatch):
    model = bases["sd1"]
    network = trained(model, LoHA(rank=3, alpha=2.0), Targets(unet="attn"))
    network.remove()
    monkeypatch.setattr("trainers.formats.write.diffusers.LARGEST_PLAIN", 1000)
    target = tmp_path / "a.safetensors"
    assert write_for_diffusers(target, network, "sd1", model.denoiser.config, {}, "fp16") is None
    assert not target.exists()
    core = tmp_path / "style.safetensors"
    write_style(core, network, "sd1", model.denoiser.config, {}, "fp16")
    assert "huge" in describe_loading(network, core, None, "sd1")
