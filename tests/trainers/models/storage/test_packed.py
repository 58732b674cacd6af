"""Packed layers: recognisable, with right gradients, nothing whole kept, and as small as promised."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.pairs import seldom_but
from tests.trainers.adapters.layers import LAYERS, input_for, make_input, make_layers
from tests.trainers.tiny_runs import METHODS
from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import attach
from trainers.adapters.op import Op, Packed
from trainers.adapters.site import Site
from trainers.adapters.targets import Targets
from trainers.config.build import build_config
from trainers.config.sections import Base
from trainers.models.full_size import build_on_meta
from trainers.models.load import load_model
from trainers.models.storage import int8, nf4
from trainers.models.storage.packed import (
    KEPT,
    PackedConv2d,
    PackedLayer,
    PackedLinear,
    Packer,
    pack,
    packer_of,
    whole_bytes,
)

pytestmark = [pytest.mark.long, pytest.mark.slow]


NF4, INT8 = Base(storage="nf4"), Base(storage="int8")
STORAGES = {
    "dynamic": NF4,
    "linear": Base(storage="nf4", scale_code="linear"),
    "fp32": Base(storage="nf4", double_quantisation=False),
    "int8": INT8,
}


def packer(settings: Base = NF4) -> Packer:
    found = packer_of(settings)
    assert found is not None
    return found


def both(kind: str, dtype: torch.dtype = torch.float64, settings: Base = NF4) -> tuple[nn.Module, nn.Module]:
    """A packed layer, and an ordinary one with the very weight that it makes."""
    torch.manual_seed(3)
    holder = nn.Sequential(LAYERS[kind]().to(dtype).requires_grad_(False))
    whole = copy.deepcopy(holder[0])
    pack(holder, "cpu", packer(settings))
    with torch.no_grad():
        whole.weight.copy_(holder[0].weight)
    return holder[0], whole


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", LAYERS)
def test_output_and_gradient_are_those_of_the_weight_that_it_makes(kind, storage):
    packed, whole = both(kind, settings=STORAGES[storage])
    x = input_for(kind).requires_grad_()
    y, expected = packed(x), whole(x)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(6), dtype=y.dtype)
    (found,), (wanted,) = torch.autograd.grad(y, x, g), torch.autograd.grad(expected, x, g)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_it_is_still_a_layer_of_its_kind(kind):
    packed, whole = both(kind, torch.bfloat16)
    assert type(packed) is (PackedLinear if kind == "linear" else PackedConv2d) and isinstance(packed, type(whole))
    assert Op.of(packed) == Op.of(whole) and isinstance(packed, Packed) and not isinstance(whole, Packed)
    assert packed.weight.dtype == torch.bfloat16 and packed.weight.shape == whole.weight.shape
    site = Site("unet", "layer", packed, ContextHolder(ForwardContext()))
    assert torch.equal(site.weight(), whole.weight) and site.device == whole.weight.device
    assert not list(packed.parameters(recurse=False)) or [n for n, _ in packed.named_parameters()] == ["bias"]


def test_another_format_is_that_of_the_weight_and_not_of_the_scales():
    packed, _ = both("linear", torch.float32)
    before = packed.weight
    packed.to(torch.bfloat16)
    assert (packed.outer.dtype, packed.mean.dtype, packed.scales.dtype) == (torch.float32, torch.float32, torch.uint8)
    assert torch.equal(packed.weight, before.bfloat16()) and packed.bias.dtype == torch.bfloat16
    assert torch.equal(packed.to(torch.float32).weight, before)


@pytest.mark.parametrize("kind", LAYERS)
def test_with_a_weight_of_its_own_it_is_an_ordinary_layer_again(kind):
    packed, whole = both(kind)
    told: list[nn.Module] = []
    packed.register_forward_hook(lambda layer, *_: told.append(layer))
    packed.unpack(whole.weight.detach().clone())
    assert type(packed) is type(whole) and packed.state_dict().keys() == whole.state_dict().keys()
    assert torch.equal(packed(input_for(kind)), whole(input_for(kind))) and told == [packed]


@pytest.mark.parametrize("kind", LAYERS)
def test_autocast_gives_gradients_too(kind):
    packed, whole = both(kind, torch.float32)
    x = input_for(kind).float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y, expected = packed(x), whole(x)
    assert y.dtype == torch.bfloat16
    (found,) = torch.autograd.grad(y.float().square().sum(), x)
    (wanted,) = torch.autograd.grad(expected.float().square().sum(), x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05 * wanted.abs().max().item())


def kept_by(net: nn.Module, x: Tensor) -> list[Tensor]:
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = net(x)
    y.float().square().mean().backward()
    return kept


@pytest.mark.parametrize(("settings", "share"), [(NF4, 1 / 2), (INT8, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_whole_is_kept_for_backward(dtype, settings, share):
    layers = {
        nn.Linear(96, 160): (2, 4, 96),
        nn.Conv2d(48, 80, 3, stride=2, padding=1): (1, 48, 4, 4),
        nn.Conv2d(96, 160, 1): (1, 96, 2, 2),
    }
    for layer, shape in layers.items():
        net = nn.Sequential(layer.to(dtype).requires_grad_(False))
        whole = layer.weight.numel()
        pack(net, "cpu", packer(settings))
        kept = kept_by(net, torch.randn(shape).to(dtype).requires_grad_())
        own = {buffer.data_ptr() for buffer in layer.buffers()}
        made = [tensor for tensor in kept if tensor.data_ptr() not in own]
        assert sum(tensor.numel() for tensor in made) < whole / 8
        assert max(tensor.nbytes for tensor in kept) <= share * whole + 256


def test_an_input_without_gradient_costs_nothing():
    net = make_layers().requires_grad_(False)
    pack(net, "cpu", packer())
    assert not net(make_input()).requires_grad


PACKED = seldom_but([("sd1", "int8", 0.05)], [("sd1", "nf4", 0.5), ("sd1", "int8", 0.05), ("sdxl", "nf4", 0)])


@pytest.mark.parametrize(("family", "storage", "off"), PACKED)
def test_what_of_a_base_is_packed(family, storage, off, tiny_bases):
    settings = Base(model=str(tiny_bases[family]), storage=storage)
    model = load_model(settings, torch.bfloat16, "cpu")
    whole = load_model(settings.whole(), torch.bfloat16, "cpu")
    assert (model.dtype, model.device, model.sha256) == (whole.dtype, whole.device, whole.sha256)
    for part, net in (*model.parts.items(), ("vae", model.vae)):
        kinds = {path: type(m) for path, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
        packed = {path for path, kind in kinds.items() if issubclass(kind, PackedLayer)}
        left = set() if part == "vae" else {path for path in kinds if path.split(".")[0] not in KEPT}
        assert packed == left and (part == "vae" or len(packed) > 10)
        assert set(kinds) - packed <= {f"{b}{rest}" for b in KEPT for rest in ("", ".linear_1", ".linear_2")} or (
            part == "vae"
        )
    x, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16(), torch.tensor([500])
    if off:
        context = torch.randn(1, 77, 24, generator=torch.Generator().manual_seed(1)).bfloat16()
        near, exact = (m.denoiser(x, t, encoder_hidden_states=context)[0].float() for m in (model, whole))
        assert 0 < (near - exact).norm() < off * exact.norm()


@pytest.mark.thorough
def test_lora_learns_on_nf4_what_it_learns_on_whole_weights(tiny_bases):
    """QLoRA's promise in small: a whole UNet's change of rank 8, learned as far as rank 4 goes, on either base."""
    draw, targets = torch.Generator().manual_seed(5), Targets(unet="attn-mlp")
    noisy, text = torch.randn(2, 4, 8, 8, generator=draw), torch.randn(2, 7, 24, generator=draw)
    bases = (Base(model=str(tiny_bases["sd1"]), storage=storage) for storage in ("full", "nf4"))
    unets = [load_model(base, torch.float32, "cpu").denoiser for base in bases]

    def run(unet: nn.Module) -> Tensor:
        return unet(noisy, torch.tensor([200, 700]), text).sample

    def left(unet: nn.Module) -> float:
        network = attach({"unet": unet}, LoRA(rank=4, alpha=8.0), targets, seed=7)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(30):
            loss = (run(unet) - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    teacher = attach({"unet": unets[0]}, LoRA(rank=8, alpha=4.0), targets, seed=9)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.15 * torch.randn(parameter.shape, generator=draw))
        wanted = run(unets[0])
        teacher.remove()
        start = (run(unets[0]) - wanted).square().mean().item()
    whole, packed = (left(unet) for unet in unets)
    assert whole < 0.02 * start and packed < 2 * whole


@pytest.fixture(scope="module")
def model(tiny_bases):
    return load_model(Base(model=str(tiny_bases["sd2"]), storage="nf4"), torch.float32, "cpu")


IN_NF4 = METHODS | {"vpt-image": {"name": "vpt", "tokens": 3, "variant": "image"}}
VISIBLE = {"vpt": 1.0, "vpt-image": 2.0}
"""Methods that are not without effect at the start, and how far they may be from the bare base."""
LATER = {"selora": ("A1", "B1", "A2")}
"""Ends of the names of what no first step trains: not grown or on trial yet."""


@pytest.mark.parametrize("method", seldom_but(("lora", "bitfit"), IN_NF4))
def test_every_method_sits_on_a_base_in_nf4_and_all_of_it_learns(method, model, request):
    settings = build_config({"name": "x", "method": IN_NF4[method]}).method
    noisy, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([300, 700])

    def prediction() -> Tensor:
        return model.predict(noisy, t, model.encode(["a fox", "the moon"]))

    bare = prediction()
    assert not bare.requires_grad
    targets = Targets(unet="attn-mlp", text_encoder=settings.text_preset)
    network = attach(model.parts, settings, targets, seed=7)
    request.addfinalizer(network.remove)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    learning = set()
    early = 8 if method == "dylora" else 2  # a factor at zero hides its partner's gradient; a rank may not be drawn
    for number in range(early):
        with network.training_step(number, of=100):
            now = prediction()
            if not number:
                torch.testing.assert_close(now, bare, rtol=1e-4, atol=VISIBLE.get(method, 1e-5))
            optimizer.zero_grad()
            now.square().mean().backward()
            learning |= {key for key, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
            optimizer.step()
    waiting = {key for key, _ in network.named_parameters() if key.endswith(LATER.get(method, ()))}
    assert learning == {key for key, _ in network.named_parameters()} - waiting
    parts = ("unet", "text_encoder") if settings.text_preset != "none" else ("unet",)
    assert all(any(part in key or key.startswith("shared") for key in learning) for part in parts)
    network.remove()
    assert torch.equal(prediction(), bare)


def test_a_real_unet_takes_4_127_bits_a_number_and_a_quarter_of_its_bytes():
    net = build_on_meta("sd1", "unet")
    layers = [
        m for path, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and not path.startswith(KEPT)
    ]
    numbers = sum(layer.weight.numel() for layer in layers)
    rest = sum(parameter.numel() for parameter in net.parameters()) - numbers
    block = net.down_blocks[0].to_empty(device="cpu").bfloat16().requires_grad_(False)
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    held = sum(layer.weight.numel() for layer in layers if not layer.weight.is_meta)
    others = 2 * (sum(p.numel() for p in block.parameters()) - held)
    pack(block, "cpu", packer())
    resident = sum(t.numel() * t.element_size() for t in (*block.parameters(), *block.buffers()))
    bits = 8 * (resident - others) / held
    assert bits == pytest.approx(4.127, abs=2e-3)
    assert (numbers * bits / 8 + 2 * rest) / 1e6 == pytest.approx(447, abs=1)  # of 1719 in 16 bits


def test_int8_of_a_layer_is_within_half_a_step_and_takes_8_bits_a_number():
    W = torch.randn(40, 12, 3, 3, generator=torch.Generator().manual_seed(2))
    W[3], W[5, 0, 0, 0] = 0, 30.0
    packed = int8.quantise(W)
    back = int8.dequantise(tuple(W.shape), torch.float32, **packed)
    steps = W.flatten(1).abs().amax(1) / 127
    assert ((back - W).flatten(1).abs().amax(1) <= steps * 0.5001).all() and (back[3] == 0).all()
    assert back[5, 0, 0, 0] == pytest.approx(30.0) and packed["codes"].abs().max() == 127
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        assert torch.equal(int8.dequantise(tuple(W.shape), dtype, **packed), back.to(dtype))
    normal = torch.randn(64, 1280, generator=torch.Generator().manual_seed(4))
    packed = int8.quantise(normal)
    error = int8.dequantise((64, 1280), torch.float32, **packed) - normal
    assert error.square().mean().sqrt() == pytest.approx(0.0082, rel=0.02)  # NF4: 0.0919
    assert sum(8 * t.nbytes for t in packed.values()) / normal.numel() == 8 + 32 / 1280


@pytest.mark.parametrize("form", [int8, nf4])
def test_a_weight_taken_in_pieces_has_the_same_codes(form, monkeypatch):
    W = torch.randn(70, 130, generator=torch.Generator().manual_seed(1)).bfloat16()
    whole = form.quantise(W)
    monkeypatch.setattr(form, "PIECE", 256)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in form.quantise(W).items())


def test_a_packed_network_says_what_it_would_take_whole(tiny_bases):
    packed, whole = (
        load_model(Base(model=str(tiny_bases["sd1"]), storage=storage), torch.bfloat16, "cpu").denoiser
        for storage in ("int8", "full")
    )
    assert whole_bytes(packed) == whole_bytes(whole) == sum(tensor.nbytes for tensor in whole.parameters())
