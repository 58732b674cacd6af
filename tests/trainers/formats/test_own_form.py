"""Files of our own form: what is written is what is read, at every strength, and nonsense in them is a sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.pairs import seldom_but
from tests.trainers.formats.other_clients import MIXED, output, own, parts_of, trained, write_trained
from trainers.adapters.methods.adapter import Adapter
from trainers.adapters.methods.krona_block import KronABlock
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.prompts import Prompts
from trainers.adapters.methods.selora import SeLoRA
from trainers.adapters.methods.tied import TiedLoRA
from trainers.adapters.methods.tlora import TLoRA
from trainers.adapters.methods.vera import VeRA
from trainers.adapters.targets import BlockOverride, Targets
from trainers.composition.apply import apply_styles
from trainers.config.build import build_config
from trainers.errors import VelaturaError
from trainers.formats.inspect import describe_style, summarise_header
from trainers.formats.own_form import own_form, read_form
from trainers.formats.read import OWN_FORM, Style, read_outline, read_style
from trainers.formats.write.convert import is_plain, why_not_plain, write_plain
from trainers.formats.write.core import file_updates, write_style
from trainers.formats.write.diffusers import describe_loading, write_for_diffusers

BLOCKS = Targets(unet="full", text_encoder="attn-mlp", blocks={"mid_block.*": BlockOverride(rank=5)})
UNET = Targets(unet="full")

# Methods of blocks, and of layers as a method would be that no client can express.
ROWS = {
    "adapter-sd1": ("sd1", Adapter(width=3, scale=0.7, norms=True), BLOCKS),
    "adapter-sdxl": ("sdxl", Adapter(width=3, scale=0.7), BLOCKS),
    "convolution": ("sdxl", Adapter(width=3, form="convolution"), UNET),
    "krona-b": ("sd2", KronABlock(scale=0.7, residual=True), Targets(unet="full", text_encoder="attn-mlp")),
    "vpt": ("sd1", Prompts(tokens=3, gated=True), UNET),
    "vpt-image": ("sdxl", Prompts(tokens=3, variant="image"), UNET),
    "vpt-shared": ("sdxl", Prompts(tokens=3, deep=False), UNET),
    "timed": ("sd1", TLoRA(rank=3, alpha=2.0, lowest=0.0), UNET),
    "layers": ("sdxl", LoKr(rank=2, alpha=3.0, factor=4, full_matrix=False), MIXED),
    "layers-shared": ("sd1", TiedLoRA(rank=3, alpha=2.0), MIXED),
    "layers-drawn": ("sd1", VeRA(rank=5), UNET),
    "layers-counted": ("sd2", SeLoRA(rank=3), UNET),
}


def write(path, model, network, precision="fp32", metadata=None):
    family = model.family.name
    tensors, form = own_form(network, family, model.denoiser.config, precision)
    from trainers.formats.safetensors_file import save

    save(path, tensors, {"velatura.family": family, **form, **(metadata or {})})
    return path


@pytest.mark.parametrize("row", seldom_but(("adapter-sd1", "vpt", "timed", "layers-shared"), ROWS))
def test_what_is_written_is_what_is_read(bases, tmp_path, row):
    family, method, targets = ROWS[row]
    model = own(bases[family])
    network = trained(model, method, targets)
    bare_and_live = []
    for strength in (0.0, 0.5, -1.0):
        with network.at_strength(strength):
            bare_and_live.append(output(model))
    network.remove()
    file = write(tmp_path / "a.safetensors", model, network)
    style = read_style(file)
    assert style.is_own and not style.layers and not style.unknown_keys
    for strength, live in zip((0.0, 0.5, -1.0), bare_and_live, strict=True):
        loaded = apply_styles(parts_of(model), family, [(style, strength)])
        found = output(model)
        assert list(loaded.parameters()) == [] and loaded.warnings == []
        assert len(loaded.hook_points) == len(network.hook_points)
        loaded.remove()
        assert (found - live).abs().max() <= 1e-4 * max(1.0, live.abs().max().item()), strength
    assert (bare_and_live[2] - bare_and_live[0]).abs().max() > 1e-3


def test_a_style_of_blocks_beside_others(bases, tmp_path):
    """Each at its own strength, on blocks and on the layers within them."""
    from trainers.adapters.methods.lora import LoRA

    model = own(bases["sd1"])
    files = []
    for name, method in (("a", Adapter(width=3)), ("b", Adapter(width=4)), ("c", LoRA(rank=2, alpha=3.0))):
        file = tmp_path / f"{name}.safetensors"
        files.append(write_trained(file, model, method, UNET, {"velatura.family": "sd1"}))
    styles = [read_style(file) for file in files]
    network = apply_styles(parts_of(model), "sd1", list(zip(styles, (0.5, -0.5, 1.0), strict=True)))
    assert {len(block.placed) for block in network.blocks} == {2} and network.sites
    both = output(model)
    network.remove()
    network = apply_styles(parts_of(model), "sd1", [(styles[2], 1.0), (styles[1], -0.5), (styles[0], 0.5)])
    torch.testing.assert_close(output(model), both, rtol=1e-4, atol=1e-4)
    with pytest.raises(VelaturaError, match="adapter does not change weights, so it cannot be merged"):
        network.merge()
    network.remove()


def test_tokens_are_written_in_fp32_since_attention_magnifies_their_rounding(bases, tmp_path):
    model = own(bases["sd1"])
    network = trained(model, Prompts(tokens=3), UNET)
    network.remove()
    tensors = load_file(write(tmp_path / "a.safetensors", model, network, "fp16"))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    with pytest.raises(VelaturaError, match="bf16 has no effect: vpt"):
        build_config({"name": "x", "method": {"name": "vpt"}, "save": {"precision": "bf16"}})


@pytest.mark.parametrize(
    ("orthogonal", "precision", "largest"),
    seldom_but(
        [(True, "fp16", 1e-3), (False, "bf16", 8e-3)],
        [(orthogonal, *rounding) for orthogonal in (True, False) for rounding in (("fp16", 1e-3), ("bf16", 8e-3))],
    ),
)
def test_a_small_difference_of_large_numbers_outlives_16_bits(bases, tmp_path, precision, largest, orthogonal):
    """T-LoRA's ΔW is what its factors have become less what they were."""
    model = own(bases["sd1"])
    network = trained(model, TLoRA(rank=4, alpha=3.0, orthogonal=orthogonal), UNET)
    draw = torch.Generator().manual_seed(5)
    for site in network.sites if orthogonal else ():
        theta = site.placed[0].theta
        for name in "ABS":
            moved = 1e-3 * torch.randn(theta[name].shape, generator=draw)  # what steps of 1e-4 move
            theta[name].data.copy_(theta[f"{name}0"] + moved)
    network.remove()
    style = read_style(write(tmp_path / "a.safetensors", model, network, precision))
    loaded = apply_styles(parts_of(model), "sd1", [(style, 1.0)])
    for live, read in zip(network.sites, loaded.sites, strict=True):
        change = live.dense()
        assert (read.dense() - change).norm() <= largest * change.norm(), live.name
    loaded.remove()
    if not orthogonal:
        assert torch.float32 not in {tensor.dtype for tensor in style.tensors.values()}, "plain factors stay small"


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_numbers_are_rounded_where_that_is_near_enough(bases, tmp_path, precision, dtype):
    model = own(bases["sd1"])
    network = trained(model, Adapter(width=3), UNET)
    network.remove()
    with torch.no_grad():
        network.blocks[0].thetas[0].u.mul_(1e-9)  # subnormal in fp16
    tensors = load_file(write(tmp_path / "a.safetensors", model, network, precision))
    found = {name: tensor.dtype for name, tensor in tensors.items()}
    tiny = [name for name, one in found.items() if one == torch.float32]
    assert set(found.values()) - {torch.float32} == {dtype}
    assert [name.rpartition(".")[2] for name in tiny] == (["u"] if precision == "fp16" else [])
    with torch.no_grad():
        network.blocks[0].thetas[0].u[0] = float("nan")
    with pytest.raises(VelaturaError, match=r"\.u holds numbers that are not finite"):
        write(tmp_path / "b.safetensors", model, network)


def test_no_client_gets_it(bases, tmp_path):
    model = own(bases["sd1"])
    network = trained(model, KronABlock(), UNET)
    network.remove()
    file = tmp_path / "a.safetensors"
    write_style(file, network, "sd1", model.denoiser.config, {"velatura.family": "sd1"}, "fp16")
    with pytest.raises(VelaturaError, match="krona-b does not change weights, so it cannot be written as LoRA"):
        file_updates(network)
    other = tmp_path / "b.safetensors"
    assert write_for_diffusers(other, network, "sd1", model.denoiser.config, {}, "fp16") is None and not other.exists()
    assert describe_loading(network, file, None, "sd2").startswith(
        "a.safetensors loads in Velatura only: krona-b does not change"
    )
    assert "--style 'a b.safetensors' --base" in describe_loading(network, Path("a b.safetensors"), None, "sd2")
    style = read_outline(file)
    assert not is_plain(style) and "only Velatura loads it" in why_not_plain(style)
    with pytest.raises(VelaturaError, match="cannot be converted to plain LoRA: krona-b does not change weights"):
        write_plain(other, read_style(file))


def test_at_a_glance(bases, tmp_path):
    model = own(bases["sdxl"])
    network = trained(model, Adapter(width=3), BLOCKS)
    network.remove()
    file = tmp_path / "a.safetensors"
    write_style(file, network, "sdxl", model.denoiser.config, {"velatura.family": "sdxl"}, "fp16")
    summary, glance = describe_style(file), summarise_header(read_outline(file))
    assert (summary.method, summary.only_here, summary.base.family, summary.rank) == ("adapter", True, "sdxl", None)
    assert (glance.method, glance.only_here) == ("adapter", True)
    by_part = {part: sum(block.part == part for block in network.blocks) for part in parts_of(model)}
    assert summary.modules == by_part
    assert summary.parameters == sum(p.numel() for p in network.parameters())
    assert [group.method.width for group in read_form(read_style(file)).groups] == [3, 5, 3, 3]


@pytest.fixture
def style(bases, tmp_path) -> Style:
    model = own(bases["sd1"])
    network = trained(model, Adapter(width=3), UNET)
    network.remove()
    return read_style(write(tmp_path / "a.safetensors", model, network))


def changed(style: Style, **group) -> Style:
    form = json.loads(style.metadata[OWN_FORM])
    form["groups"][0] |= group
    return replace(style, metadata={**style.metadata, OWN_FORM: json.dumps(form)})


@pytest.mark.parametrize(
    ("form", "place"),
    [
        ("{", "velatura.methods"),
        ("[]", "velatura.methods"),
        ('{"version": 2, "groups": []}', "version"),
        ('{"version": 1, "groups": []}', "groups"),
        ('{"version": 1, "groups": [{"part": "", "method": {"name": "adapter"}, "sites": ["a"]}]}', "part"),
        ('{"version": 1, "groups": [{"part": "unet", "method": {"name": "magic"}, "sites": ["a"]}]}', "method"),
        ('{"version": 1, "groups": [{"part": "unet", "method": {"name": "adapter", "x": 1}, "sites": ["a"]}]}', "x"),
        ('{"version": 1, "groups": [{"part": "unet", "method": {"name": "vpt", "tokens": 0}, "sites": []}]}', "tokens"),
    ],
)  # fmt: skip
def test_metadata_that_make_no_sense_are_a_sentence(style, form, place):
    with pytest.raises(VelaturaError, match=rf"a\.safetensors has an unknown method or setting .*\(.*{place}"):
        read_form(replace(style, metadata={OWN_FORM: form}))


def test_numbers_that_do_not_fit_are_a_sentence(bases, style):
    parts = parts_of(bases["sd1"])

    def refusal(changed: Style) -> str:
        with pytest.raises(VelaturaError) as caught:
            apply_styles(parts, "sd1", [(changed, 1.0)])
        return str(caught.value)

    method = json.loads(style.metadata[OWN_FORM])["groups"][0]["method"]
    first = min(name for name in style.tensors if name.endswith(".D"))
    assert "instead of (4," in refusal(changed(style, method={**method, "width": 4}))
    lacking = {name: tensor for name, tensor in style.tensors.items() if name != first}
    assert f"{first.removesuffix('.D')} lacks D" in refusal(replace(style, tensors=lacking))
    assert "does not match this base" in refusal(changed(style, sites=["lora_unet_x"]))
    # A method on what it does not sit on: a layer, or blocks of another kind.
    assert "does not match" in refusal(
        changed(style, method={"name": "vpt", "variant": "image"}, sites=["lora_unet_conv_in"])
    )
    on_starter = replace(changed(style, method={**method, "width": 4}), metadata={
        **changed(style, method={**method, "width": 4}).metadata, "velatura.fits_only": "Velatura starter"
    })  # fmt: skip
    assert "fits only the starter" in refusal(on_starter)
    before = output(bases["sd1"])
    network = apply_styles(parts, "sd1", [(changed(style, sites=[first.removesuffix(".D"), "lora_unet_x"]), 1.0)])
    assert network.warnings == [
        "a.safetensors: this base lacks 1 of its 2 layers: lora_unet_x"
    ] and len(network.blocks) == 1  # fmt: skip
    network.remove()
    assert torch.equal(output(bases["sd1"]), before)


def test_several_methods_on_a_block_make_no_file(bases):
    from tests.trainers.adapters.layers import attach_to

    model = own(bases["sd1"])
    network = attach_to(model.denoiser, Adapter(), KronABlock(), targets=UNET)
    network.remove()
    with pytest.raises(VelaturaError, match=r"ff has several methods, which no file format supports"):
        own_form(network, "sd1", model.denoiser.config, "fp32")
