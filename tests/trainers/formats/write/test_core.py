"""The core file: names, alpha, completed attention, number formats, and files that are whole or not there."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.pairs import seldom_but
from tests.trainers.formats.other_clients import MIXED, output, parts_of, trained
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.targets import Targets, select
from trainers.adapters.updates import Dense, Hadamard, Kronecker, LowRank
from trainers.composition.apply import apply_styles
from trainers.errors import VelaturaError
from trainers.formats.codecs import build_update
from trainers.formats.pack import LARGEST_ERROR, balance, pack, relative_error
from trainers.formats.read import read_style
from trainers.formats.write.core import file_alpha, file_updates, kohya_tensors, write_style


def write(path: Path, model, network, precision: str = "fp32", **metadata: str) -> dict[str, torch.Tensor]:
    write_style(path, network, model.family.name, model.denoiser.config, metadata, precision)
    network.remove()
    return load_file(path)


@pytest.mark.parametrize(
    ("method", "alpha"), [(LoRA(rank=3, alpha=2.0), 2.0), (LoRA(rank=4, alpha=3.0, rslora=True), 6.0)]
)
def test_one_alpha_on_every_layer_whatever_its_rank(bases, tmp_path, method, alpha):
    tensors = write(tmp_path / "a.safetensors", bases["sdxl"], trained(bases["sdxl"], method))
    stems = {key.split(".")[0] for key in tensors}
    assert all(tensors[f"{stem}.alpha"].item() == pytest.approx(alpha) for stem in stems)
    ranks = {len(tensors[f"{stem}.lora_down.weight"]) for stem in stems}
    assert ranks == {method.rank, 5, 1}  # the override of the middle block, and the completed attention
    assert {key.split(".", 1)[1] for key in tensors} == {"alpha", "lora_up.weight", "lora_down.weight"}


def test_layouts_of_tensors(bases, tmp_path):
    tensors = write(tmp_path / "a.safetensors", bases["sd1"], trained(bases["sd1"], LoRA(rank=3, alpha=2.0)))
    strided = "lora_unet_down_blocks_0_downsamplers_0_conv"
    assert tensors[f"{strided}.lora_down.weight"].shape == (3, 32, 3, 3)
    assert tensors[f"{strided}.lora_up.weight"].shape == (32, 3, 1, 1)
    assert tensors["lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"].shape == (
        5,
        64,
        1,
        1,
    )  # SD 1: 1×1 kernels
    assert tensors["lora_te_text_model_encoder_layers_0_mlp_fc2.lora_down.weight"].shape == (3, 80)


@pytest.mark.parametrize("method", [LoRA(rank=2, alpha=3.0), LoHA(rank=2, alpha=3.0), LoKr(factor=4), LoRA(dora=True)])
def test_attention_of_text_encoders_is_complete_and_still_means_the_same(bases, tmp_path, method):
    model = bases["sd2"]
    targets = Targets(unet="none", text_encoder=("*.layers.1.*.k_proj", "*.layers.2.mlp.fc1"))
    network = trained(model, method, targets)
    live = output(model)
    tensors = write(tmp_path / "a.safetensors", model, network)
    prefix = "lora_te_text_model_encoder_layers_"
    stems = {key.split(".")[0].removeprefix(prefix) for key in tensors}
    assert stems == {f"1_self_attn_{x}_proj" for x in ("q", "k", "v", "out")} | {"2_mlp_fc1"}
    assert not tensors[f"{prefix}1_self_attn_q_proj.lora_up.weight"].any()
    assert f"{prefix}1_self_attn_q_proj.alpha" in tensors
    loaded = apply_styles(parts_of(model), "sd2", [(read_style(tmp_path / "a.safetensors"), 1.0)])
    assert (output(model) - live).abs().max() <= 1e-5
    loaded.remove()


def test_dora_is_written_as_the_change_it_makes(bases, tmp_path):
    network = trained(bases["sd1"], LoRA(rank=2, alpha=3.0, dora=True), Targets(unet="attn"))
    expected = {site.path: site.dense().detach() for site in network.sites}
    tensors = write(tmp_path / "a.safetensors", bases["sd1"], network)
    assert {key.split(".", 1)[1] for key in tensors} == {"diff"}
    for path, change in expected.items():
        torch.testing.assert_close(tensors[f"lora_unet_{path.replace('.', '_')}.diff"], change)


def test_several_methods_on_one_layer(bases, tmp_path):
    model, targets = bases["sd1"], Targets(unet="attn")
    network = trained(model, LoRA(rank=2, alpha=3.0), targets)
    network.place(select(parts_of(model), LoRA(rank=3, alpha=1.0), targets), seed=8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05)
    live = output(model)
    tensors = write(tmp_path / "a.safetensors", model, network)
    assert {len(t) for key, t in tensors.items() if key.endswith("lora_down.weight")} == {5}
    loaded = apply_styles(parts_of(model), "sd1", [(read_style(tmp_path / "a.safetensors"), 1.0)])
    assert (output(model) - live).abs().max() <= 1e-5
    loaded.remove()
    network = trained(model, LoRA(rank=2, alpha=3.0), targets)
    network.place(select(parts_of(model), LoKr(factor=4), targets), seed=8)
    with pytest.raises(VelaturaError, match="several methods"):
        write(tmp_path / "b.safetensors", model, network)
    network.remove()
    assert not (tmp_path / "b.safetensors").exists()


LORA, LOHA, LOKR = LoRA(rank=4, alpha=3.0), LoHA(rank=3, alpha=2.0), LoKr(rank=2, alpha=3.0, factor=4)


@pytest.mark.parametrize(
    ("method", "precision"),
    seldom_but(
        [(LORA, "fp16"), (LOHA, "bf16"), (LOKR, "fp16")], [(m, p) for m in (LORA, LOHA, LOKR) for p in ("fp16", "bf16")]
    ),
)
def test_sixteen_bits_keep_every_layer_within_the_limit(bases, tmp_path, method, precision):
    model = bases["sd1"]
    network = trained(model, method)
    exact = {(site.part, site.path): site.dense().detach() for site in network.sites}
    tensors = write(tmp_path / "a.safetensors", model, network, precision)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    assert {t.dtype for key, t in tensors.items() if not key.endswith("alpha")} == {dtype}
    loaded = apply_styles(parts_of(model), "sd1", [(read_style(tmp_path / "a.safetensors"), 1.0)])
    found = {(site.part, site.path): site.dense() for site in loaded.sites}
    loaded.remove()
    errors = [relative_error(found[key], change) for key, change in exact.items()]
    assert 0 < max(errors) <= LARGEST_ERROR[precision]


def unevenly_sized(scale: float) -> LowRank:
    draw = torch.Generator().manual_seed(0)
    return LowRank(torch.randn(20, 4, generator=draw) * scale, torch.randn(4, 18, generator=draw) / scale, (20, 18))


@pytest.mark.parametrize("scale", [1e7, 1e-7])
def test_factors_beyond_fp16_are_balanced(scale):
    update = unevenly_sized(scale)
    packed = pack(update, 4.0, "fp16", "a layer")
    assert {t.dtype for name, t in packed.items() if name != "alpha"} == {torch.float16}
    assert relative_error(build_update(packed).dense(torch.empty(0)), update.dense()) <= 1e-3


def test_a_change_too_small_for_fp16_is_written_in_fp32():
    update = LowRank(unevenly_sized(1).up * 1e-9, unevenly_sized(1).down * 1e-9, (20, 18))
    packed = pack(update, 4.0, "fp16", "a layer")
    assert packed["lora_up.weight"].dtype == torch.float32
    assert relative_error(build_update(packed).dense(torch.empty(0)), update.dense()) <= 1e-6


@pytest.mark.parametrize(("rank", "names"), [(4, {"lokr_w1", "lokr_w2_a", "lokr_w2_b"}), (5, {"lokr_w1", "lokr_w2"})])
def test_a_second_factor_of_high_rank_is_written_full(rank, names):
    """Readers build a full factor from half of its larger side on, and then look for one in the file."""
    right = LowRank(torch.randn(10, rank), torch.randn(rank, 6 * 9), (10, 6, 3, 3))
    update = Kronecker(torch.randn(2, 3), right, (20, 18, 3, 3))
    packed = pack(update, 4.0, "fp32", "a layer")
    assert set(packed) == names | {"alpha"}
    found = build_update(packed, (20, 18, 3, 3)).dense(torch.empty(0))
    torch.testing.assert_close(found, update.dense(), rtol=1e-4, atol=1e-5)


def test_numbers_that_are_not_finite_are_refused(bases, tmp_path):
    network = trained(bases["sd1"], LoRA(rank=2, alpha=3.0), Targets(unet="attn"))
    with torch.no_grad():
        next(network.parameters())[0, 0] = math.nan
    with pytest.raises(VelaturaError, match=r"the change of unet\.down_blocks\.0\S+ is not finite"):
        write(tmp_path / "a.safetensors", bases["sd1"], network)
    network.remove()
    assert list(tmp_path.iterdir()) == []


def test_alpha_of_the_file_is_that_of_most_layers(bases):
    network = trained(bases["sd1"], LoRA(rank=3, alpha=2.0), MIXED)
    assert {placed.method.rank for site in network.sites for placed in site.placed} == {3, 5}
    assert file_alpha(network) == pytest.approx(2.0)
    network.remove()


sizes = st.integers(1, 6)


@settings(max_examples=60)
@given(
    st.sampled_from(["low", "loha", "lokr", "lokr-low", "dense"]),
    st.tuples(sizes, sizes, sizes),
    st.booleans(),
    st.floats(0.1, 9),
)
def test_any_update_survives_its_tensors(kind, dims, convolution, alpha):
    out, inner, rank = dims
    kernel = (3, 2) if convolution else ()
    draw = torch.Generator().manual_seed(out + 7 * inner)
    rand = lambda *shape: torch.randn(shape, generator=draw)  # noqa: E731
    size = math.prod(kernel)
    if kind == "low":
        update = LowRank(rand(out, rank), rand(rank, inner * size), (out, inner, *kernel))
    elif kind == "loha":
        sides = [LowRank(rand(out, rank), rand(rank, inner * size), (out, inner, *kernel)) for _ in range(2)]
        update = Hadamard(*sides)
    elif kind == "dense":
        update = Dense(rand(out, inner, *kernel))
    else:
        right = rand(out, inner, *kernel)
        if kind == "lokr-low":
            right = LowRank(rand(out, rank), rand(rank, inner * size), (out, inner, *kernel))
        update = Kronecker(rand(2, 3), right, (2 * out, 3 * inner, *kernel))
    exact = update.dense(torch.empty(0))
    found = build_update(pack(update, alpha, "fp32", "it"), tuple(exact.shape)).dense(torch.empty(0))
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5)


@given(st.lists(st.floats(1e-6, 1e6), min_size=4, max_size=4))
def test_balancing_leaves_the_product_bit_for_bit(scales):
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    tensors = {name: torch.tensor([[scale, -scale / 3]]) for name, scale in zip(names, scales, strict=True)}
    balanced = balance(tensors)
    product = lambda t: math.prod(t[name].double() for name in names)  # noqa: E731
    assert torch.equal(product(balanced), product(tensors))
    largest = [balanced[name].abs().max().item() for name in names]
    assert max(largest[:3]) / min(largest[:3]) < 2.01


def test_equal_runs_give_equal_files(bases, tmp_path):
    for name in ("a", "b"):
        write(
            tmp_path / f"{name}.safetensors",
            bases["sd1"],
            trained(bases["sd1"], LoHA(rank=2)),
            "fp16",
            ss_a="1",
            ss_b="2",
        )
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_tensors_share_no_storage(bases, tmp_path):
    network = trained(bases["sd1"], LoRA(rank=2, alpha=3.0))
    tensors = kohya_tensors(file_updates(network), file_alpha(network), "sd1", bases["sd1"].denoiser.config, "fp32")
    network.remove()
    assert len({t.untyped_storage().data_ptr() for t in tensors.values()}) == len(tensors)
    assert all(t.is_contiguous() and not t.requires_grad for t in tensors.values())
