"""`attach` on any module: what it changes is right, or it is refused and the module stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from trainers.adapters.methods import METHODS
from trainers.adapters.network import attach
from trainers.adapters.targets import Targets
from trainers.errors import VelaturaError

EVERY = Targets(unet=("*",))
ADDING = ("lora", "loha", "lokr")
"""Methods whose changes of one layer add up, whoever put them there."""


class Odd(nn.Module):
    """Layers that most networks lack, beside an ordinary one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.plain = nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.same, self.grouped = nn.Conv2d(8, 8, 3, padding="same"), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.circular = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")

    def forward(self, x: Tensor) -> Tensor:
        """`(n, 4, 8)` to the same."""
        x = self.plain(x)
        x = self.attention(x, x, x)[0]
        return self.circular(self.grouped(self.same(x.mT[..., None]))).squeeze(-1).mT


def hooks_on(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules())


def shaken(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))


def test_layers_that_no_update_can_reach_are_left_out_with_a_warning() -> None:
    net, x = Odd(), torch.randn(2, 4, 8)
    with pytest.warns(UserWarning, match=r"left out attention\.out_proj, same, grouped, circular: a grouped conv"):
        network = attach({"unet": net}, METHODS["lora"](rank=2), EVERY, seed=0)
    assert [site.name for site in network.sites] == ["unet.plain"]
    shaken(network)
    net(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    with torch.no_grad():
        live = net(x)
        network.merge()
        torch.testing.assert_close(net(x), live)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 4))


def pruned() -> nn.Module:
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    prune.random_unstructured(net[0], "weight", 0.5)
    return net


def computed(computation: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(computation(nn.Linear(8, 8)), nn.Linear(8, 4))


@pytest.mark.parametrize(
    "build",
    [
        pruned,
        *(
            partial(computed, computation)
            for computation in (
                parametrizations.weight_norm,
                parametrizations.spectral_norm,
                parametrizations.orthogonal,
                nn.utils.weight_norm,
                nn.utils.spectral_norm,
            )
        ),
    ],
)
def test_a_layer_whose_weight_is_computed_is_left_out_or_refused(build: Callable[[], nn.Module]) -> None:
    net = build()
    with pytest.warns(UserWarning, match="left out 0: its weight is computed"):
        network = attach({"unet": net}, METHODS["lora"](rank=2), EVERY, seed=0)
    assert [site.path for site in network.sites] == ["1"]
    with pytest.raises(VelaturaError, match="such as 0, which this method cannot change: its weight is computed"):
        attach({"unet": build()}, METHODS["lora"](rank=2), Targets(unet=("0",)), seed=0)


def test_a_layer_without_a_size_is_left_out() -> None:
    with pytest.warns(UserWarning, match="left out 0: its size is not known"):
        network = attach({"unet": lazy()}, METHODS["lora"](rank=2), EVERY, seed=0)
    assert [site.path for site in network.sites] == ["1"]


@pytest.mark.parametrize(
    ("settings", "width"), [({}, 3), ({}, 1), ({"side": "input"}, 1), ({"butterfly": True}, 5)], ids=str
)
def test_oft_leaves_out_layers_whose_channels_cannot_rotate_together(settings: dict[str, Any], width: int) -> None:
    net = nn.Sequential(nn.Linear(width, width), nn.Linear(width, 8), nn.Linear(8, 8))
    with pytest.warns(UserWarning, match="left out 0.*: oft has nothing to train there"):
        network = attach({"unet": net}, METHODS["oft"](**settings), EVERY, seed=0)
    assert all(placed.theta["q"].numel() for site in network.sites for placed in site.placed)


def test_a_second_merge_is_refused() -> None:
    net = nn.Sequential(nn.Linear(8, 8))
    network = attach({"unet": net}, METHODS["lora"](rank=2), EVERY, seed=0)
    shaken(network)
    network.merge()
    merged = net[0].weight.clone()
    with pytest.raises(VelaturaError, match="merged already"):
        network.merge()
    assert torch.equal(net[0].weight, merged)


def test_remove_lets_the_base_learn_as_before() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    net[1].bias.requires_grad_(False)
    network = attach({"unet": net}, METHODS["lora"](rank=2), Targets(unet=("0",)), seed=0)
    assert not any(p.requires_grad for p in net.parameters())
    network.remove()
    assert [p.requires_grad for p in net.parameters()] == [True, True, True, False]


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    net[2].weight = net[0].weight
    return net


@pytest.mark.parametrize(
    ("net", "method", "targets", "sentence"),
    [
        (tied(), "lora", ("*",), r"^unet\.0 and unet\.2 share one weight, so .* leave unet\.0 out"),
        (nn.Sequential(nn.Conv1d(2, 2, 1), nn.ReLU()), "lora", ("*",), r"^unet has no layer that this method can cha"),
        (nn.Sequential(nn.Conv2d(4, 4, 1, groups=2)), "lora", ("*",), r"layers such as 0, which this method cannot"),
        (Odd(), "lora", ("attention.*",), r"layers such as attention\.out_proj, which this method cannot change"),
        (nn.Sequential(nn.Linear(2, 2)), "t-lora", ("*",), r"^t-lora depends on the timestep, and Sequential\.forward"),
        (
            nn.Sequential(nn.Linear(2, 2)),
            "lora",
            "attn",
            r"^the preset .attn. selects no layer of unet; use .* or patterns",
        ),
    ],
)
def test_other_networks_are_refused_and_stay_as_they_were(
    net: nn.Module, method: str, targets: str | tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(VelaturaError, match=sentence):
        attach({"unet": net}, METHODS[method](), Targets(unet=targets), seed=0)
    assert hooks_on(net) == 0 and all(p.requires_grad for p in net.parameters())


class Open(nn.Sequential):
    """A network whose signature does not say whether it takes a timestep."""

    def forward(self, x: Tensor, **_: Tensor) -> Tensor:
        """`(n, 2)` to the same."""
        return super().forward(x)


def test_a_call_without_the_timestep_that_the_method_needs_is_one_sentence() -> None:
    net = Open(nn.Linear(2, 2))
    network = attach({"unet": net}, METHODS["t-lora"](rank=2, orthogonal=False), EVERY, seed=0)
    with pytest.raises(VelaturaError, match=r"depends on the timestep: call the network with `timestep=`"):
        net(torch.randn(3, 2))
    assert net(torch.randn(3, 2), timestep=torch.tensor(10)).shape == (3, 2)
    network.remove()
    assert hooks_on(net) == 0


def test_one_of_two_layers_with_one_weight_can_be_left_out() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    network = attach({"unet": net}, METHODS["lora"](), Targets(unet=("0",)), seed=0)
    assert [site.path for site in network.sites] == ["0"]


@pytest.mark.parametrize("second", METHODS)
@pytest.mark.parametrize("first", [*ADDING, "oft", "full"])
def test_two_networks_on_one_layer_add_up_or_the_second_is_refused(first: str, second: str) -> None:
    net, x = nn.Sequential(nn.Linear(8, 8)), torch.randn(3, 8)
    below = attach({"unet": net}, METHODS[first](), EVERY, seed=0).eval()
    shaken(below)
    with torch.no_grad():
        alone = net(x)
    try:
        above = attach({"unet": net}, METHODS[second](), EVERY, seed=0).eval()
    except VelaturaError:
        assert second not in ADDING or first == "full"
        with torch.no_grad():
            assert torch.equal(net(x), alone)
        return
    shaken(above)
    with torch.no_grad():
        found = net(x)
        expected = x @ (net[0].weight + below.sites[0].dense() + above.sites[0].dense()).T + net[0].bias
        shift = above.sites[0].shift()
        torch.testing.assert_close(found, expected if shift is None else expected + shift, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("part", ["model", "unet", "backbone"])
def test_any_name_that_is_no_text_encoder_s_is_the_denoiser(part: str) -> None:
    network = attach({part: nn.Sequential(nn.Linear(2, 2))}, METHODS["lora"](), EVERY, seed=0)
    assert [site.name for site in network.sites] == [f"{part}.0"]
    assert [group["lr"] for group in network.parameter_groups(1e-3, 1e-5)] == [1e-3]
