"""PEFT's own files, written by PEFT and read here, and the form of OFT written here and read by PEFT."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainers.adapters.methods.oft import skew
from trainers.errors import VelaturaError
from trainers.formats.codecs.oft import rotation_of
from trainers.formats.peft_settings import CONFIG, PREFIX
from trainers.formats.read import read_style
from trainers.formats.write.peft import TENSORS, write_peft_oft
from trainers.models.load import load_model
from trainers.training.train import train

IN, OUT, B = 8, 6, 4


class Layers(nn.Module):
    """A linear layer and two convolutions, one of which does not tell its inputs from its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(IN, OUT)
        self.conv = nn.Conv2d(4, OUT, 3, padding=1)
        self.square = nn.Conv2d(4, 4, 1)


NAMES = ["linear", "conv", "square"]
FLAT = ["linear", "square"]
"""Layers without a kernel, which is all that PEFT's OFT turns alike in its forward and merged."""


def adapted(folder: Path, config, names: list[str] = NAMES, seed: int = 3) -> tuple[dict[str, nn.Module], Path]:
    """Layers with an adapter of PEFT's of which no number is at its start, and the file that PEFT has saved of it."""
    from peft import get_peft_model

    torch.manual_seed(seed)
    base = Layers()
    model = get_peft_model(base, config)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    model.save_pretrained(str(folder))
    return {name: getattr(base, name) for name in names}, folder / TENSORS


def probe(layer: nn.Module) -> Tensor:
    shape = (5, IN) if isinstance(getattr(layer, "base_layer", layer), nn.Linear) else (2, 4, 5, 5)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def read_as(file: Path, name: str, layer: nn.Module) -> Tensor:
    """What the bare layer gives with the file's change added to its weight and bias."""
    bare, x = layer.base_layer, probe(layer)
    update = read_style(file).update(f"{PREFIX}{name}", bare.weight, bare.bias)
    weight = bare.weight + update.dense(bare.weight)
    bias = bare.bias if update.shift is None else bare.bias + update.shift
    if isinstance(bare, nn.Linear):
        return nn.functional.linear(x, weight, bias)
    return nn.functional.conv2d(x, weight, bias, padding=bare.padding)


def configs() -> dict[str, object]:
    from peft import IA3Config, LoHaConfig, LoKrConfig, LoraConfig, OFTConfig

    exact = {"target_modules": FLAT, "oft_block_size": B, "use_cayley_neumann": False}
    series = exact | {"use_cayley_neumann": True}
    return {
        "lora": LoraConfig(r=4, lora_alpha=2, target_modules=NAMES),
        "rslora": LoraConfig(r=4, lora_alpha=3, use_rslora=True, target_modules=NAMES),
        "patterns": LoraConfig(
            r=4, lora_alpha=2, target_modules=NAMES, rank_pattern={"conv": 3, "^linear": 2},
            alpha_pattern={"conv": 7, "^square$": 9, "lin.*r": 5},
        ),
        "dora": LoraConfig(r=4, lora_alpha=2, use_dora=True, target_modules=NAMES),
        "loha": LoHaConfig(r=4, alpha=2, target_modules=NAMES, alpha_pattern={"conv": 7}),
        "lokr": LoKrConfig(r=2, alpha=3, target_modules=NAMES, rank_pattern={"conv": 1}),
        "lokr full": LoKrConfig(r=32, alpha=8, target_modules=NAMES),
        "oft": OFTConfig(**exact),
        "oft shared": OFTConfig(**exact, block_share=True),
        **{f"oft series {n}": OFTConfig(**series, num_cayley_neumann_terms=n) for n in (1, 2, 3, 4, 5, 6, 7)},
        "ia3": IA3Config(target_modules=NAMES, feedforward_modules=[]),
        "ia3 inputs": IA3Config(target_modules=NAMES, feedforward_modules=NAMES),
        "ia3 mixed": IA3Config(target_modules=NAMES, feedforward_modules=["square"]),
    }  # fmt: skip


CASES = [
    *("lora", "rslora", "patterns", "dora", "loha", "lokr", "lokr full", "oft", "oft shared"),
    *(f"oft series {n}" for n in range(1, 8)),
    *("ia3", "ia3 inputs", "ia3 mixed"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_peft_saved_is_read_as_peft_runs_it(tmp_path, case):
    layers, file = adapted(tmp_path, configs()[case], FLAT if case.startswith("oft") else NAMES)
    moved = 0.0
    for name, layer in layers.items():
        with torch.no_grad():
            live, bare = layer(probe(layer)), layer.base_layer(probe(layer))
        assert (read_as(file, name, layer) - live).abs().max() < 2e-5, name
        moved = max(moved, (live - bare).abs().max().item())
    assert moved > 0.05 or case == "oft series 1"  # the series of one term is I
    assert read_style(file).notes == ()


def test_without_its_settings_an_adapter_says_that_its_alpha_is_not_known(tmp_path):
    layers, file = adapted(tmp_path, configs()["lora"])
    (tmp_path / CONFIG).unlink()
    style = read_style(file)
    (note,) = style.notes
    assert "adapter_config.json" in note and "alpha = rank" in note
    change = style.update(f"{PREFIX}linear").dense(torch.empty(0))
    delta = layers["linear"].get_delta_weight("default")
    torch.testing.assert_close(change, 2 * delta)  # α / r is ½


def test_a_rotation_or_a_square_scale_without_settings_is_refused(tmp_path):
    layers, file = adapted(tmp_path / "oft", configs()["oft"], FLAT)
    (tmp_path / "oft" / CONFIG).unlink()
    with pytest.raises(VelaturaError, match=r"adapter_config\.json says.*: put it into the same folder"):
        read_as(file, "linear", layers["linear"])
    layers, file = adapted(tmp_path / "ia3", configs()["ia3"])
    (tmp_path / "ia3" / CONFIG).unlink()
    assert read_as(file, "conv", layers["conv"]).shape[1] == OUT
    with pytest.raises(VelaturaError, match=r"adapter_config\.json says.*: put it into the same folder"):
        read_as(file, "square", layers["square"])


def test_a_convolution_whose_inputs_peft_turns_is_refused(tmp_path):
    """Its forward differs from the bare layer's even where R = I, so no change of a weight is what was trained."""
    from peft import OFTConfig, get_peft_model

    base = Layers()
    model = get_peft_model(base, OFTConfig(target_modules=["conv"], oft_block_size=B))
    x = probe(base.conv)
    assert (base.conv(x) - base.conv.base_layer(x)).abs().max() > 0.5
    model.save_pretrained(str(tmp_path))
    with pytest.raises(VelaturaError, match="trains another change than it merges"):
        read_as(tmp_path / TENSORS, "conv", base.conv)


@pytest.mark.parametrize("shape", [(3, 5), (3, 6), (2, 0), (6,), (2, 2, 6)])
def test_a_rotation_of_another_layer_is_refused(tmp_path, shape):
    save_file({f"{PREFIX}linear.oft_R.weight": torch.ones(shape)}, tmp_path / TENSORS)
    (tmp_path / CONFIG).write_text('{"peft_type": "OFT"}')
    with pytest.raises(VelaturaError, match="rotates its inputs"):
        read_style(tmp_path / TENSORS).update(f"{PREFIX}linear", torch.ones(OUT, IN))


def test_a_series_without_end_is_refused(tmp_path):
    save_file({f"{PREFIX}linear.oft_R.weight": torch.ones(IN // B, B * (B - 1) // 2)}, tmp_path / TENSORS)
    (tmp_path / CONFIG).write_text('{"use_cayley_neumann": true, "num_cayley_neumann_terms": 1000000000}')
    with pytest.raises(VelaturaError, match=r"has an invalid .*\(1000000000 terms of a series; the limit is 100"):
        read_style(tmp_path / TENSORS).update(f"{PREFIX}linear", torch.ones(OUT, IN))


@given(st.sampled_from([(8, 4), (8, 2), (12, 6)]), st.floats(0.01, 3), st.integers(0, 99))
def test_rotations_are_orthogonal(width_and_block, size, seed):
    width, b = width_and_block
    theta = size * torch.randn(width // b, b * (b - 1) // 2, generator=torch.Generator().manual_seed(seed))
    R = rotation_of(theta.double(), width, 0)
    torch.testing.assert_close(R @ R.mT, torch.eye(b).double().expand_as(R), rtol=0, atol=1e-10)
    W = torch.randn(OUT, width, generator=torch.Generator().manual_seed(seed)).double()
    turned = W @ torch.block_diag(*R)
    torch.testing.assert_close(turned @ turned.mT, W @ W.mT)  # the rows keep their lengths and angles


def test_a_rotation_that_is_written_is_what_peft_turns(tmp_path):
    from peft import PeftModel

    torch.manual_seed(0)
    base = Layers()
    W, bias, x = base.linear.weight.detach().clone(), base.linear.bias.detach().clone(), probe(base.linear)
    Q = skew(0.4 * torch.randn(IN // B, B * (B - 1) // 2), B)
    folder = write_peft_oft(tmp_path / "style-peft", {"linear": Q})
    assert set(load_file(folder / TENSORS)) == {f"{PREFIX}linear.oft_R.weight"}
    one = torch.eye(IN)
    whole = torch.block_diag(*Q)
    expected = W @ ((one + whole) @ torch.linalg.inv(one - whole))
    with torch.no_grad():
        found = PeftModel.from_pretrained(base, str(folder)).base_model.model.linear(x)
    torch.testing.assert_close(found, x @ expected.T + bias, rtol=1e-5, atol=1e-5)
    read = read_style(folder / TENSORS).update(f"{PREFIX}linear", W, bias)
    torch.testing.assert_close(W + read.dense(W), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "written"), [({"side": "input"}, True), ({"side": "input", "butterfly": True}, False), ({}, False)]
)
@pytest.mark.usefixtures("no_pictures")
def test_a_style_that_turns_inputs_is_written_for_peft_too(method, written, quick, tmp_path):
    from peft import PeftModel

    config = quick({"method": {"name": "oft", "block_size": 8, **method}})
    style = train(config, tmp_path).style
    folder = style.with_name("dusk-peft")
    assert folder.exists() == written
    assert ("PeftModel.from_pretrained" in style.with_name("how-to-load.txt").read_text(encoding="utf-8")) == written
    if not written:
        return
    unet = load_model(config.base, torch.float32, "cpu").denoiser
    before = {name: weight.clone() for name, weight in unet.state_dict().items()}
    merged = PeftModel.from_pretrained(unet, str(folder)).merge_and_unload().state_dict()
    changes = {key.removesuffix(".diff"): change for key, change in load_file(style).items() if key.endswith(".diff")}
    names = {f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}": name for name in before}
    assert changes and changes.keys() <= names.keys()
    for key, change in changes.items():
        assert change.abs().max() > 1e-3
        torch.testing.assert_close(merged[names[key]] - before[names[key]], change, rtol=1e-3, atol=1e-5)
    still = set(before) - {names[key] for key in changes}
    assert all(torch.equal(merged[name], before[name]) for name in still)


def test_blocks_of_two_sizes_have_no_form_in_peft(tmp_path):
    with pytest.raises(VelaturaError, match="one block size for all layers, but there are 2, 4"):
        write_peft_oft(tmp_path / "a", {"a": torch.zeros(2, 4, 4), "b": torch.zeros(4, 2, 2)})
    assert not (tmp_path / "a").exists()
