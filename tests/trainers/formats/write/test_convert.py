"""Files of any method as plain LoRA, which diffusers draws with as Velatura does with the original."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.pairs import seldom_but
from tests.trainers.formats.other_clients import MIXED, in_diffusers, output, own, parts_of, trained
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.composition.apply import apply_styles
from trainers.errors import VelaturaError
from trainers.formats.read import read_outline, read_style
from trainers.formats.write.convert import is_plain, why_not_plain, write_plain
from trainers.formats.write.core import write_style

LORA = {"lora_unet_a.lora_up.weight": torch.ones(4, 2), "lora_unet_a.lora_down.weight": torch.ones(2, 6)}


@pytest.mark.parametrize("family", seldom_but(("sd1",), ("sd1", "sdxl")))
@pytest.mark.parametrize("method", [LoHA(rank=2, alpha=3.0), LoKr(rank=2, alpha=3.0, factor=4)], ids=["loha", "lokr"])
def test_diffusers_draws_the_same(bases, tiny_trees, tmp_path, family, method):
    model, file, plain = bases[family], tmp_path / "a.safetensors", tmp_path / "plain.safetensors"
    network = trained(model, method, MIXED)
    network.remove()
    metadata = {"velatura.family": family, "ss_network_module": "lycoris.kohya", "ss_tag": "kept"}
    write_style(file, network, family, model.denoiser.config, metadata, "fp32")
    style = read_style(file)
    assert not is_plain(read_outline(file)) and why_not_plain(read_outline(file)) == ""
    write_plain(plain, style)

    converted = read_style(plain)
    assert is_plain(converted) and set(converted.layers) == set(style.layers)
    assert {key.rpartition(".")[2] for key in load_file(plain)} == {"weight", "alpha"}
    assert (converted.metadata["ss_network_module"], converted.metadata["ss_tag"]) == ("networks.lora", "kept")
    changed = own(model)
    apply_styles(parts_of(changed), family, [(style, 1.0)])
    expected, bare = output(changed), output(model)
    error = (in_diffusers(model, plain) - expected).norm() / (expected - bare).norm()
    assert error < 1e-4 and (expected - bare).norm() > 0.01 * bare.norm()


def test_plain_files_are_known_by_their_header(tmp_path, bases):
    file = tmp_path / "a.safetensors"
    for extra, plain in (
        ({}, True),
        ({"lora_unet_a.alpha": torch.ones(())}, True),
        ({"lora_unet_a.lora_mid.weight": torch.ones(2, 2, 3, 3)}, False),
        ({"lora_unet_a.dora_scale": torch.ones(4, 1)}, False),
        ({"lora_unet_a.diff_b": torch.ones(4)}, False),
    ):
        save_file(LORA | extra, file)
        assert is_plain(read_outline(file)) == plain, extra


LOHA = {f"hada_w{side}_{half}": torch.ones(3, 3) for side in "12" for half in "ab"}


@pytest.mark.parametrize(
    ("tensors", "family", "reason"),
    [
        ({f"lora_unet_mid_block.{key}": t for key, t in LOHA.items()}, "", "which kind of base it is for"),
        ({f"lora_unet_mid_block.{key}": t for key, t in LOHA.items()}, "sd1", "has its layer lora_unet_mid_block"),
        (
            {f"lora_unet_conv_in.{key}": t for key, t in LOHA.items()},
            "sd1",
            "another size than Stable Diffusion 1: its layer lora_unet_conv_in has 3 outputs instead of 32",
        ),
        (
            {f"lora_unet_conv_in.{key}": torch.ones(32, 3) for key in LOHA},
            "sd1",
            "does not fit: its layer lora_unet_conv_in",
        ),
        ({**LORA, "lora_unet_a.dora_scale": torch.ones(4, 1)}, "sd1", "it is a DoRA"),
        ({**LORA, "lora_unet_a.diff_b": torch.ones(4)}, "sd1", "such as lora_unet_a.diff_b"),
        ({"lora_unet_a.oft_blocks": torch.ones(2, 3, 3)}, "sd1", "such as lora_unet_a.oft_blocks"),
        ({"lora_unet_conv_norm_out.diff": torch.ones(32)}, "sd1", "it changes a norm, lora_unet_conv_norm_out"),
    ],
)
def test_what_cannot_be_plain_is_said(tiny_trees, tmp_path, tensors, family, reason):
    save_file(tensors, tmp_path / "a.safetensors", {"velatura.family": family})
    with pytest.raises(VelaturaError, match=reason):
        write_plain(tmp_path / "plain.safetensors", read_style(tmp_path / "a.safetensors"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_gigabytes_are_not_written(bases, tiny_trees, tmp_path, monkeypatch):
    monkeypatch.setattr("trainers.formats.write.convert.LARGEST_PLAIN", 10_000)
    network = trained(bases["sd1"], LoRA(rank=2), MIXED)
    network.remove()
    write_style(
        tmp_path / "a.safetensors", network, "sd1", bases["sd1"].denoiser.config, {"velatura.family": "sd1"}, "fp16"
    )
    with pytest.raises(VelaturaError, match="larger than 1 GB as plain LoRA"):
        write_plain(tmp_path / "plain.safetensors", read_style(tmp_path / "a.safetensors"))
