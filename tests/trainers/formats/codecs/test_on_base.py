"""Changes that are made of a layer's own weight, against formulas and against their makers' modules."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainers.adapters.updates import Dense
from trainers.formats.codecs import dora, glora, needs_base, update_on
from trainers.formats.layout import LayoutError
from trainers.formats.peft_settings import PeftSettings
from trainers.formats.read import Style, read_style

OUT, IN, K, R = 12, 10, 3, 2


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


@pytest.mark.parametrize("tensors", [{}, {"weight": draw(OUT)}, {"weight": draw(OUT, 1)}])
@pytest.mark.parametrize("shape", [(OUT, IN), (OUT,)])
def test_nonsense_about_inputs_is_refused(tensors, shape):
    with pytest.raises(LayoutError, match=r"lacks weight|scales 12 inputs"):
        update_on({**tensors, "on_input": torch.tensor(1)}, draw(*shape), None)


@pytest.mark.parametrize("scale", [torch.tensor(1.0), torch.zeros(0), torch.ones(IN), torch.ones(1, OUT)])
def test_magnitudes_of_another_layer_are_refused(scale):
    with pytest.raises(LayoutError, match="magnitudes for a layer of shape"):
        dora.read(Dense(draw(OUT, IN)), {"dora_scale": scale}, draw(OUT, IN))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kernel", [(), (K, K)])
def test_dora_scales_rows_or_columns(axis, kernel):
    W, change = draw(OUT, IN, *kernel), draw(OUT, IN, *kernel, seed=3)
    magnitude = draw(OUT if axis == 0 else IN).abs()
    stored = magnitude.view(-1, 1, *[1] * len(kernel)) if axis == 0 else magnitude.view(1, -1, *[1] * len(kernel))
    new = W + dora.read(Dense(change), {"dora_scale": stored}, W).dense()
    norms = new.flatten(1).norm(dim=1) if axis == 0 else new.transpose(0, 1).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, magnitude)
    rows = (new / (W + change)).transpose(0, axis).flatten(1)
    torch.testing.assert_close(rows, rows[:, :1].expand_as(rows), rtol=1e-3, atol=1e-4)


def test_peft_magnitudes_are_by_row_even_where_the_layer_is_square():
    W, change, magnitude = draw(IN, IN, K, K), draw(IN, IN, K, K, seed=3), draw(IN).abs()
    new = W + dora.read(Dense(change), {"lora_magnitude_vector": magnitude.view(1, IN, 1, 1)}, W).dense()
    torch.testing.assert_close(new.flatten(1).norm(dim=1), magnitude)


LAYERS = {
    "linear": (lambda: nn.Linear(IN, OUT), (5, IN)),
    "kernel": (lambda: nn.Conv2d(IN, OUT, K, padding=1), (2, IN, 6, 6)),
    "1×1": (lambda: nn.Conv2d(IN, OUT, 1), (2, IN, 6, 6)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_glora_is_read_as_lycoris_runs_it(kind):
    from lycoris.modules.glora import GLoRAModule

    torch.manual_seed(0)
    build, shape = LAYERS[kind]
    layer, x = build(), draw(*shape)
    module = GLoRAModule("x", layer, 1.0, lora_dim=3, alpha=2.0)
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(0.5 * draw(*parameter.shape, seed=number))
        bare = layer(x)
        module.apply_to()
        live = layer(x)
        tensors = {f"lora_unet_a.{name}": tensor for name, tensor in module.state_dict().items()}
        update = Style(Path("a"), tensors, {}).update("lora_unet_a", layer.weight, layer.bias)
        change = update.dense(layer.weight)
        if kind == "linear":
            found = bare + nn.functional.linear(x, change)
        else:
            found = bare + nn.functional.conv2d(x, change, padding=layer.padding)
    assert (found - live).abs().max() < 1e-5 < 0.1 < (live - bare).abs().max()


def test_older_glora_files_have_their_matrices_the_other_way_round():
    W, a1, a2, b1, b2 = draw(OUT, IN), draw(IN, R), draw(R, IN, seed=1), draw(OUT, R), draw(R, IN, seed=2)
    expected = 2.0 / R * (W @ a1 @ a2 + b1 @ b2)
    for order in ((a1, a2, b1, b2), (a2, a1, b2, b1)):
        tensors = dict(zip(("a1.weight", "a2.weight", "b1.weight", "b2.weight"), order, strict=True))
        found = glora.read({**tensors, "alpha": torch.tensor(2.0)}, W)
        torch.testing.assert_close(found.dense(W), expected, rtol=1e-4, atol=1e-5)
        assert needs_base(tensors)


@pytest.mark.parametrize("shape", [(OUT, IN + 1), (OUT + 1, IN), (OUT,)])
def test_glora_of_another_layer_is_refused(shape):
    sizes = {"a1.weight": (IN, R), "a2.weight": (R, IN), "b1.weight": (OUT, R), "b2.weight": (R, IN)}
    with pytest.raises(LayoutError, match="GLoRA"):
        glora.read({name: torch.ones(size) for name, size in sizes.items()}, torch.ones(shape))


@pytest.mark.parametrize("settings", [{}, {"use_cayley_neumann": False}, {"block_share": True}, {"eps": 0.3}])
def test_coft_is_projected_as_peft_does(settings, tmp_path):
    """PEFT shortens each block in every forward pass, so a file may hold longer ones than it ever applied."""
    from peft import OFTConfig, get_peft_model

    net = nn.Sequential(nn.Linear(24, OUT))
    W, config = (
        net[0].weight.detach().clone(),
        OFTConfig(target_modules=["0"], oft_block_size=8, r=0, coft=True, **settings),
    )
    model = get_peft_model(net, config)
    with torch.no_grad():
        model.base_model.model[0].oft_R["default"].weight.normal_(generator=torch.Generator().manual_seed(1))
    model.save_pretrained(tmp_path)
    x = draw(5, 24)
    expected = model(x) - net[0].base_layer.bias
    style = read_style(tmp_path / "adapter_model.safetensors")
    found = x @ (W + style.update("base_model.model.0", W).dense()).T
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
    far = Style(style.path, style.tensors, style.metadata, PeftSettings({**style.adapter_config.table, "coft": False}))
    assert (x @ (W + far.update("base_model.model.0", W).dense()).T - expected).abs().max() > 0.1


@pytest.mark.parametrize("eps", [-1, "nan", "inf", None, "x"])
def test_a_limit_that_is_none_is_refused(eps):
    tensors = {"oft_R.weight": draw(3, 28)}
    with pytest.raises((ValueError, TypeError)):
        PeftSettings({"coft": True, "eps": eps}).facts("a", tensors)
