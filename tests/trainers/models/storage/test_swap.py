"""Blocks in main memory: the gradients and pictures of the plain path, with NaN where weights are out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.pairs import seldom_but
from tests.tiny_flow import tiny_flow, tiny_flow_folder
from trainers.adapters.network import attach
from trainers.adapters.op import weights_on_device
from trainers.adapters.targets import Targets
from trainers.config.build import build_config
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.full_size import build_from_config
from trainers.models.images import decode_latents, encode_images
from trainers.models.load import load_model
from trainers.models.storage import swap
from trainers.models.storage.packed import pack, packer_of
from trainers.models.storage.swap import Swap, choose_blocks, swappable_blocks
from trainers.training.step.trainee import fingerprint
from trainers.training.train import train

pytestmark = pytest.mark.long
LORA, DORA = {"name": "lora", "rank": 2}, {"name": "lora", "rank": 2, "dora": True}
PISSA, LOHA, LOKR = LORA | {"start": "pissa"}, {"name": "loha", "rank": 2}, {"name": "lokr", "rank": 2}
CASES = [
    ("sd3", "full", LORA),
    ("flux", "int8", LOHA),
    ("chroma", "nf4", DORA),
]
MORE = [
    pytest.param(family, storage, method, marks=pytest.mark.thorough)
    for family in ("sd3", "flux", "chroma")
    for storage in ("full", "int8", "nf4")
    for method in (LORA, LOHA, LOKR, DORA, PISSA, {"name": "oft"}, {"name": "full"})
    if (family, storage, method) not in CASES and (storage == "full" or method["name"] != "full")
]


def inputs(family: str) -> dict[str, Any]:
    """What a tiny transformer reads, two images of 64 pixels."""
    draw = torch.Generator().manual_seed(1)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    if family == "sd3":
        text = {"encoder_hidden_states": some(2, 7, 80), "pooled_projections": some(2, 72)}
        return {"hidden_states": some(2, 16, 8, 8), "timestep": torch.tensor([10.0, 900.0]), **text}
    ids = {"img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(7, 3), "timestep": torch.tensor([0.1, 0.9])}
    found = {"hidden_states": some(2, 16, 64), "encoder_hidden_states": some(2, 7, 32), **ids}
    return found | ({"pooled_projections": some(2, 24), "guidance": torch.ones(2)} if family == "flux" else {})


def transformer(family: str, storage: str, swapped: int) -> Any:
    network, packer = tiny_flow(family).transformer, packer_of(Base(storage=storage))
    if packer is not None:
        pack(network, "cpu", packer)
    if swapped:
        Swap(choose_blocks(network, swapped), "cpu")
    return network


def learned(family: str, storage: str, method: dict[str, Any], swapped: int) -> dict[str, Tensor]:
    """The output and gradients of a step of a method, what is drawn after it, and with the method merged."""
    network = transformer(family, storage, swapped)
    settings = build_config({"name": "x", "method": method}).method
    adapters = attach({"transformer": network}, settings, Targets(unet="none", transformer="attn-mlp"), seed=3)
    with torch.no_grad():
        for name, parameter in adapters.named_parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    if swapped:
        network.enable_gradient_checkpointing()
        network.train()
    given = inputs(family)
    output = network(**given).sample
    output.square().mean().backward()
    found = {name: parameter.grad for name, parameter in adapters.named_parameters() if parameter.grad is not None}
    network.eval()
    with torch.no_grad():
        found |= {"output": output, "drawn": network(**given).sample}
        adapters.merge(0.5)
        found["merged"] = network(**given).sample
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("family", "storage", "method"), [*CASES, *MORE])
def test_gradients_and_pictures_are_those_of_the_plain_path(family, storage, method):
    plain, swapped = (learned(family, storage, method, count) for count in (0, 2))
    assert plain.keys() == swapped.keys() and len(plain) > 3
    assert {name for name, tensor in plain.items() if not torch.equal(tensor, swapped[name])} == set()
    assert not torch.equal(plain["merged"], plain["drawn"])


def weights(block: nn.Module) -> list[Tensor]:
    return [tensor for tensor in (*block.parameters(), *block.buffers()) if tensor.is_floating_point()]


def test_a_block_that_is_out_holds_nothing_but_nan_and_two_are_in_at_most(monkeypatch):
    network = transformer("flux", "int8", 3)
    out = choose_blocks(network, 3)
    assert [swappable_blocks(network).index(block) for block in out] == [0, 2, 3]
    copies: list[Tensor] = []
    begin = swap._Copier.begin
    monkeypatch.setattr(swap._Copier, "begin", lambda *args: copies.append(found := begin(*args)) or found)

    def check() -> None:
        assert all(
            tensor.isnan().all() and tensor.untyped_storage().nbytes() <= 4 for b in out for tensor in weights(b)
        )

    check()
    seen: list[int] = []
    for block in out:
        block.register_forward_pre_hook(
            lambda *_: seen.append(sum(not any(t.isnan().any() for t in weights(b)) for b in out))
        )
    with torch.no_grad():
        network(**inputs("flux"))
        check()
        network(**inputs("flux"))
    assert seen == [1] * 6 and len(copies) == 7, "each once, and the first of a next pass"
    network.enable_gradient_checkpointing()
    network.train()
    given = inputs("flux")
    given["hidden_states"].requires_grad_()
    network(**given).sample.square().mean().backward()
    check()
    assert seen[6:] == [1] * 6 and len(copies) == 7 + 5, "the last is copied again for backward"
    assert given["hidden_states"].grad.isfinite().all()


def test_a_layer_is_at_hand_outside_of_a_pass_and_changes_last_if_they_are_kept():
    network, plain = (transformer("sd3", "full", count) for count in (3, 0))
    layer, same = (net.transformer_blocks[1].attn.to_q for net in (network, plain))
    with weights_on_device(layer), weights_on_device(layer):
        assert torch.equal(layer.weight, same.weight)
        layer.weight.zero_()
    assert layer.weight.isnan().all()
    with weights_on_device(layer, keep=True):
        assert torch.equal(layer.weight, same.weight)
        layer.weight.mul_(2)
    with weights_on_device(layer):
        assert torch.equal(layer.weight, 2 * same.weight)


def test_more_blocks_than_there_are_is_an_error():
    with pytest.raises(VelaturaError, match=r"base\.swap_blocks = 4 is more than the 3 blocks of this base"):
        choose_blocks(tiny_flow("sd3").transformer, 4)


def test_flux_has_its_blocks_in_the_order_in_which_they_run():
    config = {"_class_name": "FluxTransformer2DModel", "num_layers": 2, "num_single_layers": 4}
    network = build_from_config(
        config | {"attention_head_dim": 8, "num_attention_heads": 2, "axes_dims_rope": (2, 2, 4)}
    )
    kinds = [type(block).__name__ for block in swappable_blocks(network)]
    assert kinds == ["FluxTransformerBlock"] * 2 + ["FluxSingleTransformerBlock"] * 4


@pytest.mark.parametrize("family", seldom_but(("sd3",), ("sd1", "sd3")))
def test_encoders_in_main_memory_encode_and_decode_the_same(family, tiny_bases, tmp_path):
    folder = tiny_bases["sd1"] if family == "sd1" else tiny_flow_folder("sd3", tmp_path)
    models = [
        load_model(Base(model=str(folder), storage="int8", offload_encoders=away), torch.float32, "cpu", "0" * 64)
        for away in (False, True)
    ]
    held = [tensor for net in (*models[1].text_encoders, models[1].vae) for tensor in weights(net)]
    assert all(tensor.isnan().all() for tensor in held) and len(held) > 50
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = []
    for model in models:
        text, latents = model.encode(["a fox", ""]), encode_images(model, pixels)
        shown = decode_latents(model, latents[0])
        keys = fingerprint(*model.text_encoders), fingerprint(model.vae)
        found.append((*text.tensors().values(), *latents, shown, keys))
    assert found[0][-1] == found[1][-1], "the keys of their caches"
    assert all(torch.equal(one, other) for one, other in zip(found[0][:-1], found[1][:-1], strict=True))
    assert all(tensor.isnan().all() for net in (*models[1].text_encoders, models[1].vae) for tensor in weights(net))


@pytest.mark.thorough
@pytest.mark.usefixtures("quick_runs")
def test_a_run_with_blocks_in_main_memory_gives_the_same_style(quick, tmp_path):
    folder = tiny_flow_folder("sd3", tmp_path / "base")
    found = []
    for count in (0, 2):
        base = {"model": str(folder), "storage": "int8", "swap_blocks": count, "offload_encoders": count > 0}
        flow = {
            "loss": {"weighting": "none"},
            "targets": {"unet": "attn", "text_encoder": "none"},
            "sample": {"sampler": "euler"},
        }
        result = train(quick({"base": base, "name": f"swapped-{count}"}, flow), tmp_path / "runs")
        found.append(load_file(result.style))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())
