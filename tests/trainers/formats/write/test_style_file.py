"""The public writer: a network on any module is written, and loaded on another without the settings of `attach`."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainers.adapters.layers import EVERY_LAYER, VARIANTS, make_input, make_layers, shake
from trainers import METHODS, Targets, VelaturaError, apply_styles, attach, read_style, write_style
from trainers.models.model import Model


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_loaded_elsewhere_is_what_was_attached(variant: str, tmp_path: Path) -> None:
    net, x = make_layers(), make_input()
    network = attach({"net": net}, VARIANTS[variant], EVERY_LAYER, seed=7).eval()
    shake(network)
    with torch.no_grad():
        expected = net(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_style(network, tmp_path / "a.safetensors", precision="fp32")
    other = make_layers()
    loaded = apply_styles({"net": other}, "", [(read_style(tmp_path / "a.safetensors"), 1.0)])
    with torch.no_grad():
        assert (other(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert (other(x) - make_layers()(x)).abs().max() > 1e-3
    assert loaded.warnings == []


@pytest.mark.parametrize("method", ["lora", "loha", "lokr", "oft", "ia3", "full", "bitfit"])
def test_layers_named_as_a_format_s_tensors_are_read_again(method: str, tmp_path: Path) -> None:
    names = ("lora_A", "lora_B", "lora_up", "lora_down", "lora_mid", "a1", "diff", "oft_R", "ia3_l", "weight")

    def build() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(OrderedDict((name, nn.Linear(8, 8)) for name in names))

    net, x = build(), torch.randn(3, 8)
    settings = {"everywhere": True} if method == "ia3" else {}
    network = attach({"net": net}, METHODS[method](**settings), EVERY_LAYER, seed=0).eval()
    shake(network)
    write_style(network, tmp_path / "a.safetensors", precision="fp32")
    other = build()
    apply_styles({"net": other}, "", [(read_style(tmp_path / "a.safetensors"), 1.0)])
    torch.testing.assert_close(other(x), net(x), rtol=1e-4, atol=1e-4)


def test_a_style_that_changes_nothing_is_written_with_a_warning(tmp_path: Path) -> None:
    network = attach({"net": make_layers()}, METHODS["lora"](), EVERY_LAYER, seed=7)
    with pytest.warns(UserWarning, match="changes nothing"):
        write_style(network, tmp_path / "a.safetensors")
    assert read_style(tmp_path / "a.safetensors").layers


def test_a_path_may_be_text_and_a_precision_must_be_known(tmp_path: Path) -> None:
    network = attach({"net": make_layers()}, METHODS["lora"](), EVERY_LAYER, seed=7)
    shake(network)
    other: Any = "fp8"
    with pytest.raises(VelaturaError, match="'fp8' is not one of fp16, bf16, fp32"):
        write_style(network, str(tmp_path / "a.safetensors"), precision=other)
    write_style(network, str(tmp_path / "a.safetensors"))
    assert read_style(str(tmp_path / "a.safetensors")).layers


def test_a_network_of_other_layers_or_sizes_is_refused(tmp_path: Path) -> None:
    network = attach({"net": make_layers()}, METHODS["lora"](), EVERY_LAYER, seed=7)
    shake(network)
    write_style(network, tmp_path / "a.safetensors")
    style = read_style(tmp_path / "a.safetensors")
    with pytest.raises(VelaturaError, match=r"^a\.safetensors has no layer in common with this base"):
        apply_styles({"other": make_layers()}, "", [(style, 1.0)])
    larger = make_layers()
    larger.wide = nn.Linear(21, 24)
    with pytest.raises(VelaturaError, match=r"^a\.safetensors does not fit: its layer net\.wide"):
        apply_styles({"net": larger}, "", [(style, 1.0)])
    with pytest.raises(VelaturaError, match=r"a\.pt is not a name for a style file; end it with \.safetensors"):
        write_style(network, tmp_path / "a.pt")


def test_a_style_of_a_base_has_the_names_and_facts_that_programs_read(bases: dict[str, Model], tmp_path: Path) -> None:
    model = bases["sd1"]
    network = attach(model.parts, METHODS["lora"](rank=2), Targets(unet="attn"), seed=7)
    try:
        shake(network)
        write_style(network, tmp_path / "dusk.safetensors", model)
    finally:
        network.remove()
    style = read_style(tmp_path / "dusk.safetensors")
    assert style.metadata["velatura.family"] == "sd1" and style.metadata["ss_output_name"] == "dusk"
    assert len(style.layers) == len(network.sites) and all(name.startswith("lora_unet_") for name in style.layers)
