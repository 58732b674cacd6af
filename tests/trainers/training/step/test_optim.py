"""Learning rates, optimizers and the moving average."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.trainers.adapters.layers import attach_to, make_input, make_layers, shake
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.tlora import TLoRA
from trainers.adapters.network import Network, attach
from trainers.adapters.targets import BlockOverride, Targets
from trainers.config.sections import Train
from trainers.errors import VelaturaError
from trainers.training.step import optim
from trainers.training.step.optim import (
    MovingAverage,
    OptimizerAverage,
    learning_rate_factor,
    limit_norms,
    make_optimizer,
    offload_between_steps,
    parameter_groups,
    set_learning_rate,
)

pytestmark = pytest.mark.slow

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")


@pytest.mark.parametrize(
    ("schedule", "cycles", "expected"),
    [
        ("constant", 1, [0.5, 1, 1, 1, 1]),
        ("linear", 1, [0.5, 1, 0.75, 0.5, 0.25]),
        ("polynomial", 1, [0.5, 1, 0.5625, 0.25, 0.0625]),
        ("cosine", 1, [0.5, 1, 0.8535534, 0.5, 0.1464466]),
        ("cosine", 2, [0.5, 1, 0.5, 1, 0.5]),
        ("rex", 1, [0.5, 1, 6 / 7, 2 / 3, 0.4]),
    ],
)
def test_schedules(schedule, cycles, expected):
    train = Train(steps=5, warmup=1, schedule=schedule, cycles=cycles)
    assert [learning_rate_factor(step, train) for step in range(5)] == pytest.approx(expected)


def test_a_larger_d_of_rex_keeps_the_rate_high_and_a_floor_is_never_passed():
    high = Train(steps=4, schedule="rex", rex_d=0.9)
    assert [learning_rate_factor(k, high) for k in range(4)] == pytest.approx(
        [1, 0.75 / 0.775, 0.5 / 0.55, 0.25 / 0.325]
    )
    floored = Train(steps=4, schedule="linear", floor=0.2)
    assert [learning_rate_factor(k, floored) for k in range(4)] == pytest.approx([1, 0.8, 0.6, 0.4])


def test_groups_hold_every_tensor_once_at_its_rate():
    targets = Targets(unet=("*",), blocks={"wide": BlockOverride(learning_rate=0.5), "strided": BlockOverride(rank=2)})
    network = attach_to(make_layers(), LoRA(rank=4, alpha=2.0, plus_ratio=8.0), targets=targets)
    groups = parameter_groups(network, Train(learning_rate=1e-3))
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert len(rates) == sum(len(g["params"]) for g in groups) == len(list(network.parameters()))
    by_name = {f"{s.path}.{n}": rates[id(p)] for s in network.sites for n, p in s.thetas[0].named_parameters()}
    assert by_name["narrow.A"] == pytest.approx(1e-3) and by_name["narrow.B"] == pytest.approx(8e-3)
    assert by_name["wide.A"] == pytest.approx(5e-4) and by_name["wide.B"] == pytest.approx(4e-3)
    ranks = {s.path: s.placed[0].method.rank for s in network.sites}
    assert ranks["strided"] == 2 and ranks["narrow"] == 4


@pytest.mark.parametrize(
    ("settings", "rate"), [({}, 5e-4), ({"text_encoder_learning_rate": 2e-5}, 2e-5), ({"optimizer": "prodigy"}, 1e-3)]
)
def test_text_encoders_have_a_rate_of_their_own(settings, rate):
    targets = Targets(unet=("*",), text_encoder=("*",))
    network = attach({"unet": make_layers(), "text_encoder": make_layers()}, LoRA(), targets, seed=0)
    groups = parameter_groups(network, Train(learning_rate=1e-3, **settings))
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    found = {(site.part, rates[id(p)]) for site in network.sites for p in site.parameters()}
    assert found == {("unet", 1e-3), ("text_encoder", rate)}


def test_the_second_text_encoder_has_a_rate_of_its_own():
    parts = {name: make_layers() for name in ("unet", "text_encoder", "text_encoder_2")}
    network = attach(parts, LoRA(), Targets(unet=("*",), text_encoder=("*",)), seed=0)
    for second, rate in ((3e-5, 3e-5), (0.0, 2e-5)):
        rates = {"text_encoder_learning_rate": 2e-5, "text_encoder_2_learning_rate": second}
        groups = parameter_groups(network, Train(learning_rate=1e-3, **rates))
        found = {id(p): group["lr"] for group in groups for p in group["params"]}
        by_part = {(site.part, found[id(p)]) for site in network.sites for p in site.parameters()}
        assert by_part == {("unet", 1e-3), ("text_encoder", 2e-5), ("text_encoder_2", rate)}


@pytest.mark.parametrize(
    "name", ["adamw", "adafactor", "lion", "prodigy", "came", "schedule-free", "prodigy-schedule-free"]
)
def test_every_optimizer_lowers_a_loss_and_keeps_state(name, capsys):
    net, x = make_layers(), make_input()
    network = attach_to(net, LoRA(rank=4, alpha=2.0))
    steps, rate = (150, 1.0) if name.startswith("prodigy") else (60, 5e-3)
    settings = Train(optimizer=name, learning_rate=rate, steps=steps)
    optimizer = make_optimizer(parameter_groups(network, settings), settings)
    losses = []
    for step in range(steps):
        set_learning_rate(optimizer, step, settings)
        loss = net(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert optimizer.state_dict()["state"]
    assert capsys.readouterr().out == ""  # standard output is for data


def adam_steps(network: Network, loss: Callable[[], Tensor], offloaded: bool) -> torch.optim.Optimizer:
    optimizer = make_optimizer(parameter_groups(network, Train()), Train(learning_rate=1e-2))
    if offloaded:
        offload_between_steps(optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_state_in_main_memory_between_steps_changes_nothing(device, monkeypatch):
    moves: list[str] = []
    move = optim._move
    monkeypatch.setattr(optim, "_move", lambda state, to: (moves.append(to.type), move(state, to)))
    found = []
    for offloaded in (False, True):
        net, x = make_layers().to(device), make_input().to(device)
        network = attach_to(net, LoRA(rank=4, alpha=2.0))
        optimizer = adam_steps(network, lambda net=net, x=x: net(x).pow(2).mean(), offloaded)
        found.append([p.detach() for p in network.parameters()])
    state = next(iter(optimizer.state.values()))
    assert {value.device.type for value in state.values()} == {"cpu"}
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    count = len(found[0])  # nothing is there to fetch for the first step
    assert moves == ["cpu"] * count + ([device] * count + ["cpu"] * count) * 2


FROM_THE_BASE = {
    "pissa": LoRA(rank=3, alpha=2.0, start="pissa"),
    "dora": LoRA(rank=3, alpha=2.0, dora=True),
    "pissa-dora": LoRA(rank=3, alpha=2.0, start="pissa", dora=True),
    "t-lora": TLoRA(rank=3, alpha=2.0),
}
"""Methods some of whose tensors start at the base's own values."""


def step_without_gradient(network: Network, steps: int, settings: Train) -> None:
    """Nothing but weight decay."""
    optimizer = make_optimizer(parameter_groups(network, settings), settings)
    for step in range(steps):
        set_learning_rate(optimizer, step, settings)
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        with network.training_step(step, of=steps):
            optimizer.step()


@pytest.mark.parametrize("optimizer", ["adamw", "lion", "adafactor", "adamw8bit"])
@pytest.mark.parametrize("method", FROM_THE_BASE)
def test_decay_alone_leaves_a_style_that_has_learned_nothing_as_it_is(method, optimizer):
    network = attach_to(make_layers(), FROM_THE_BASE[method])
    before = {name: p.clone() for name, p in network.named_parameters()}
    changes = [site.dense() for site in network.sites]
    step_without_gradient(network, 30, Train(learning_rate=1e-3, weight_decay=0.1, optimizer=optimizer))
    moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    assert {name.rpartition(".")[2] for name in moved} <= ({"A"} if method == "dora" else set())  # B is still 0
    assert all(torch.equal(site.dense(), change) for site, change in zip(network.sites, changes, strict=True))
    if method != "dora" and method != "pissa-dora":
        assert all(not change.any() for change in changes)


@pytest.mark.parametrize("method", FROM_THE_BASE)
def test_decay_takes_what_was_learned_away_and_not_the_base(method):
    """p − s shrinks by (1 − ηλ) a step, so after n steps the change is gone and W is as it was."""
    network = attach_to(make_layers(), FROM_THE_BASE[method])
    starts = {name: p.clone() for name, p in network.named_parameters()}
    shake(network)
    learned = {name: p - starts[name] for name, p in network.named_parameters()}
    settings = Train(learning_rate=0.1, weight_decay=0.5)
    step_without_gradient(network, 20, settings)
    to_start = {"pissa": "AB", "pissa-dora": "ABm", "dora": "m", "t-lora": "ABS"}[method]
    for name, p in network.named_parameters():
        pulled = name[-1] in to_start
        expected = starts[name] + 0.95**20 * learned[name] if pulled else 0.95**20 * (starts[name] + learned[name])
        torch.testing.assert_close(p.detach(), expected, rtol=1e-4, atol=1e-6)
    step_without_gradient(network, 400, settings)
    assert all(site.dense().norm() < 1e-5 * site.weight().norm() for site in network.sites)


@pytest.mark.parametrize("method", FROM_THE_BASE)
def test_towards_zero_it_eats_the_base(method):
    network = attach_to(make_layers(), replace(FROM_THE_BASE[method], decay_towards="zero"))
    step_without_gradient(network, 20, Train(learning_rate=0.1, weight_decay=0.5))
    shares = [(site.dense().norm() / site.weight().norm()).item() for site in network.sites]
    assert max(shares) > 0.1


def test_what_has_no_gradient_is_not_decayed():
    network = attach_to(make_layers(), FROM_THE_BASE["pissa"])
    with torch.no_grad():
        for p in network.parameters():  # far smaller than where it started: there and back again is not the same bits
            p.mul_(1e-3)
    before = [p.clone() for p in network.parameters()]
    settings = Train(learning_rate=0.1, weight_decay=0.5)
    optimizer = make_optimizer(parameter_groups(network, settings), settings)
    first = next(network.parameters())
    first.grad = torch.zeros_like(first)
    with network.training_step(0, of=1):
        optimizer.step()
    assert [torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True)].count(False) == 1


def test_prodigy_finds_its_step_on_tensors_that_start_at_the_base(capsys):
    net, x = make_layers(), make_input()
    network = attach_to(net, FROM_THE_BASE["pissa"])
    settings = Train(optimizer="prodigy", learning_rate=1.0, steps=60, weight_decay=0.1)
    optimizer = make_optimizer(parameter_groups(network, settings), settings)
    losses = []
    for step in range(60):
        set_learning_rate(optimizer, step, settings)
        loss = net(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        with network.training_step(step, of=60):
            optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0] and optimizer.param_groups[0]["d"] > 1e-6


@pytest.mark.parametrize("name", ["paged-adamw", "paged-adamw8bit"])
def test_a_paged_optimizer_needs_a_card(name):
    network = attach_to(make_layers(), LoRA())
    with pytest.raises(VelaturaError, match=f"train.optimizer = {name} moves its state"):
        make_optimizer(parameter_groups(network, Train()), Train(optimizer=name))


def test_a_missing_package_is_one_sentence(monkeypatch):
    with suppress(ImportError):  # else it would be left half imported
        import bitsandbytes  # noqa: F401
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    network = attach_to(make_layers(), LoRA())
    with pytest.raises(VelaturaError, match=r"pip install bitsandbytes"):
        make_optimizer(parameter_groups(network, Train()), Train(optimizer="adamw8bit"))


def test_the_average_follows_its_formula_and_gives_the_live_tensors_back():
    network = attach_to(make_layers(), LoRA(rank=2, alpha=1.0))
    average = MovingAverage(network, 0.5)
    parameter = next(iter(network.parameters()))
    start = parameter.detach().clone()
    with torch.no_grad():
        parameter.add_(1)
    average.update()  # d = min(0.5, 2/11)
    name = next(iter(average.values))
    torch.testing.assert_close(average.values[name], start + 9 / 11)
    live = parameter.detach().clone()
    with average.in_place():
        torch.testing.assert_close(parameter, start + 9 / 11)
    assert torch.equal(parameter, live)


def test_arguments_reach_the_optimizer():
    network = attach_to(make_layers(), LoRA())
    for name, line, expected in (
        ("adamw", "betas=0.8, 0.95 eps=1e-6", {"betas": (0.8, 0.95), "eps": 1e-6}),
        ("prodigy", "d0=1e-5 use_bias_correction=false", {"d0": 1e-5, "use_bias_correction": False}),
        ("came", "betas=(0.9,0.99,0.995)", {"betas": (0.9, 0.99, 0.995)}),
    ):
        settings = Train(optimizer=name, learning_rate=1.0, optimizer_args=line)
        optimizer = make_optimizer(parameter_groups(network, settings), settings)
        assert expected.items() <= optimizer.param_groups[0].items()
    for name in ("prodigy", "prodigy-schedule-free"):
        settings = Train(optimizer=name, learning_rate=1.0, d_coef=0.25)
        assert make_optimizer(parameter_groups(network, settings), settings).param_groups[0]["d_coef"] == 0.25


def test_the_average_of_a_schedule_free_optimizer_is_the_mean_of_its_steps_and_leaves_no_trace():
    net, x = make_layers(), make_input()
    network = attach_to(net, LoRA(rank=4, alpha=2.0))
    settings = Train(optimizer="schedule-free", learning_rate=1e-2)
    optimizer = make_optimizer(parameter_groups(network, settings), settings)
    average, parameter = OptimizerAverage(network, optimizer), next(network.parameters())
    name = next(name for name, p in network.named_parameters() if p is parameter)
    steps = []
    for _ in range(5):
        optimizer.zero_grad()
        net(x).pow(2).mean().backward()
        optimizer.step()
        steps.append(optimizer.state[parameter]["z"].clone())  # all steps have one rate, so they weigh the same
        live = [p.clone() for p in network.parameters()]
        with average.in_place():
            torch.testing.assert_close(parameter.detach(), torch.stack(steps).mean(0), rtol=1e-4, atol=1e-6)
        assert all(torch.equal(p, before) for p, before in zip(network.parameters(), live, strict=True))
    assert not torch.equal(parameter, average.values[name])


@pytest.mark.parametrize(
    "method", [LoRA(rank=3, alpha=2.0), LoRA(rank=3, freeze_a=True), LoHA(rank=2), LoKr(rank=2, factor=2)]
)
def test_a_maximum_norm_scales_larger_changes_alone(method):
    network = attach_to(make_layers(), method)
    shake(network)
    changes = {site.path: site.dense() for site in network.sites}
    norms = sorted(change.norm().item() for change in changes.values())
    most = 1.001 * norms[len(norms) // 2]
    limit_norms(network, most)
    for site in network.sites:
        before, after = changes[site.path], site.dense()
        torch.testing.assert_close(after, before * min(1.0, most / before.norm().item()), rtol=1e-4, atol=1e-6)
        assert torch.equal(after, before) == (before.norm().item() <= most)
