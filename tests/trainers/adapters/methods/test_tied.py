"""Tied-LoRA against its formula, with LoRA and VeRA as its special cases, and who shares what."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.adapters.layers import LAYERS, attach_to, make_site, shake, shared_of, theta_of
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.tied import SWITCHES, TiedLoRA
from trainers.adapters.methods.vera import VeRA
from trainers.adapters.network import Network, attach
from trainers.adapters.targets import BlockOverride, Targets
from trainers.config.sections import Train
from trainers.errors import VelaturaError
from trainers.training.step.optim import parameter_groups


class Alike(nn.Module):
    """Two layers of one shape, two roles among three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ModuleDict({"to_q": nn.Linear(6, 8), "to_k": nn.Linear(6, 8)})
        self.second = nn.ModuleDict({"to_q": nn.Linear(6, 8), "to_out": nn.Linear(8, 6)})

    def forward(self, x: Tensor) -> Tensor:
        return self.first["to_q"](x) + self.first["to_k"](2 * x) + self.second["to_q"](3 * x)


def values_of(network: Network, path: str) -> dict[str, Tensor]:
    """All tensors that a site uses, its own and the shared ones, without the group in their names."""
    site = next(s for s in network.sites if s.path == path)
    (placed,) = site.placed
    group = placed.method._group(site)
    own = dict(placed.theta)
    return own | {k.split("-")[0]: v for k, v in placed.shared.items() if k.partition("-")[2] == group}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("group_by", ["shape", "role"])
def test_the_change_is_a_lora_between_two_diagonals(kind, group_by):
    site = make_site(kind, TiedLoRA(rank=3, alpha=2.0, group_by=group_by))
    theta, shared = theta_of(site), shared_of(site)
    (A,) = (t for name, t in shared.items() if name.startswith("A-"))
    (B,) = (t for name, t in shared.items() if name.startswith("B-"))
    assert set(theta) == {"u", "v"} and A.shape == (3, site.op.fan_in) and B.shape == (20, 3)
    expected = 2 / 3 * torch.diag(theta["v"]) @ B @ torch.diag(theta["u"]) @ A
    torch.testing.assert_close(site.dense(), expected.reshape(site.op.shape))


@pytest.mark.parametrize("kind", LAYERS)
def test_untied_and_without_vectors_it_is_lora(kind):
    tied = make_site(kind, TiedLoRA(rank=3, alpha=2.0, configuration="lora"), size=0.0)
    lora = make_site(kind, LoRA(rank=3, alpha=2.0))
    assert set(theta_of(tied)) == {"A", "B"} and shared_of(tied) == {}
    tied.thetas[0].load_state_dict(lora.thetas[0].state_dict())
    torch.testing.assert_close(tied.dense(), lora.dense(), rtol=0, atol=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_with_frozen_matrices_it_is_vera(kind):
    tied = make_site(kind, TiedLoRA(rank=5, alpha=5.0, configuration="vera"), size=0.0)
    vera = make_site(kind, VeRA(rank=5, d_initial=0.3))
    assert not any(isinstance(t, nn.Parameter) for t in tied.placed[0].shared.values())
    with torch.no_grad():
        for name, tensor in tied.placed[0].shared.items():
            random = vera.placed[0].shared[name[0]]
            tensor.copy_(math.sqrt(2 / (site_width(vera, name))) * random)
        tied.thetas[0].u.copy_(vera.thetas[0].d)
        tied.thetas[0].v.copy_(vera.thetas[0].b)
    torch.testing.assert_close(tied.dense(), vera.dense())


def site_width(site, name: str) -> int:
    return site.op.fan_in if name.startswith("A") else 5


@pytest.mark.parametrize(
    ("settings", "zero", "v"),
    [
        ({}, "B", 1.0),
        ({"train_b": False}, "v", 0.0),
        ({"train_v": False}, "B", None),
        ({"tie_b": False, "train_b": False}, "v", 0.0),
    ],
)
def test_it_starts_without_effect_and_with_one_factor_at_zero(settings, zero, v):
    network = attach_to(Alike(), TiedLoRA(rank=3, alpha=2.0, **settings))
    values = values_of(network, "first.to_q")
    assert [name for name in ("A", "B", "u", "v") if name in values and not values[name].any()] == [zero]
    assert torch.equal(values["u"], torch.ones(3))
    assert ("v" not in values) if v is None else torch.equal(values["v"], torch.full((8,), v))
    assert values["A"].abs().max() <= 1 / math.sqrt(6)


def test_layers_of_one_shape_share_and_the_gradient_is_the_sum_of_theirs():
    net = Alike()
    network = attach_to(net, TiedLoRA(rank=2, alpha=3.0))
    shake(network)
    assert {name for name, _ in network.shared[0].named_parameters()} == {"A-8x6", "B-8x6", "A-6x8", "B-6x8"}
    assert values_of(network, "first.to_k")["A"] is values_of(network, "second.to_q")["A"]
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    net(x).square().sum().backward()
    shared = network.shared[0].get_parameter("A-8x6").grad.clone()

    alone = attach_to(
        twin := Alike(), TiedLoRA(rank=2, alpha=3.0, tie_a=False, tie_b=False)
    )  # each layer its own, with the same values
    twin.load_state_dict(net.state_dict())
    for site in alone.sites:
        with torch.no_grad():
            for name, value in values_of(network, site.path).items():
                site.thetas[0].get_parameter(name).copy_(value)
    twin(x).square().sum().backward()
    grads = [values_of(alone, path)["A"].grad for path in ("first.to_q", "first.to_k", "second.to_q")]
    torch.testing.assert_close(shared, torch.stack(grads).sum(0))


def test_by_role_only_layers_of_one_name_share():
    network = attach_to(Alike(), TiedLoRA(rank=2, group_by="role"))
    names = {name for name, _ in network.shared[0].named_parameters() if name.startswith("A")}
    assert len(names) == 4  # first.to_q and second.to_q bear different names before the last
    deep = nn.ModuleDict({"blocks": nn.ModuleList(nn.ModuleDict({"attn": nn.ModuleDict({"to_q": nn.Linear(6, 8)})})
                                                  for _ in range(3))})  # fmt: skip
    deeper = attach_to(deep, TiedLoRA(rank=2, group_by="role"))
    assert set(dict(deeper.shared[0].named_parameters())) == {"A-attn-to_q-8x6", "B-attn-to_q-8x6"}


def test_what_is_shared_learns_at_the_rate_of_its_part_and_block():
    parts = {name: nn.ModuleDict({"a": nn.Linear(6, 8), "b": nn.Linear(6, 8)}) for name in ("unet", "text_encoder")}
    targets = Targets(unet=("*",), text_encoder=("*",), blocks={"unet.b": BlockOverride(learning_rate=0.5)})
    network = attach(parts, TiedLoRA(rank=2, train_u=False, train_v=False), targets, seed=0)
    assert [(one.part, one.learning_rate) for one in network.shared_tensors] == [
        ("unet", 1.0), ("unet", 0.5), ("text_encoder", 1.0)]  # fmt: skip
    settings = Train(learning_rate=1e-2, text_encoder_learning_rate=1e-3)
    rates = {group["lr"]: len(group["params"]) for group in parameter_groups(network, settings)}
    assert rates == {1e-2: 2, 5e-3: 2, 1e-3: 2}


@pytest.mark.parametrize(
    "wrong", [{"train_b": False, "train_v": False}, {"group_by": "role", "tie_a": False, "tie_b": False}]
)
def test_settings_without_effect_are_refused(wrong):
    with pytest.raises(VelaturaError):
        TiedLoRA(**wrong)


def test_a_configuration_by_name_is_its_switches():
    own = TiedLoRA(tie_a=False, tie_b=False, train_u=False, train_v=False)
    by_hand = {
        "lora": own,
        "vera": TiedLoRA(train_a=False, train_b=False),
        "tl5": TiedLoRA(train_u=False, train_v=False),
        "tl6": TiedLoRA(),
    }
    for name, switched in by_hand.items():
        method = TiedLoRA(configuration=name)
        assert replace(method, configuration="custom") == switched
        assert method.with_rank(3).train_v == switched.train_v
        same = TiedLoRA(**{key: getattr(switched, key) for key in SWITCHES}, configuration=name)
        assert same == method, "a run's config has both"


@pytest.mark.parametrize(
    ("name", "switch", "value"),
    [("lora", "tie_a", True), ("vera", "train_b", True), ("tl5", "train_u", True), ("tl6", "train_v", False)],
)
def test_a_switch_that_contradicts_the_configuration_is_refused(name, switch, value):
    found = f'configuration = "{name}" has {switch} = {str(not value).lower()}; remove {switch}'
    with pytest.raises(VelaturaError, match=found):
        TiedLoRA(configuration=name, **{switch: value})
