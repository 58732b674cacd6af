"""Learning rates, optimizers and the moving average."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.adapters.layers import attach_to, make_input, make_layers
from trainers.adapters import LoRA
from trainers.config import BlockOverride, Targets, Train
from trainers.errors import VelaturaError
from trainers.optim import MovingAverage, learning_rate_factor, make_optimizer, parameter_groups, set_learning_rate


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 0.75, 0.5, 0.25]),
        ("polynomial", [0.5, 1, 0.5625, 0.25, 0.0625]),
        ("cosine", [0.5, 1, 0.8535534, 0.5, 0.1464466]),
    ],
)
def test_schedules(schedule, expected):
    train = Train(steps=5, warmup=1, schedule=schedule)
    assert [learning_rate_factor(step, train) for step in range(5)] == pytest.approx(expected)


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


@pytest.mark.parametrize("name", ["adamw", "adafactor", "lion", "prodigy"])
def test_every_optimizer_lowers_a_loss_and_keeps_state(name, capsys):
    net, x = make_layers(), make_input()
    network = attach_to(net, LoRA(rank=4, alpha=2.0))
    settings = Train(optimizer=name, learning_rate=1.0 if name == "prodigy" else 5e-3, steps=150)
    optimizer = make_optimizer(parameter_groups(network, settings), settings)
    losses = []
    for step in range(150):
        set_learning_rate(optimizer, step, settings)
        loss = net(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert optimizer.state_dict()["state"]
    assert capsys.readouterr().out == ""  # standard output is for data


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes.optim", None)
    network = attach_to(make_layers(), LoRA())
    with pytest.raises(VelaturaError, match=r"pip install 'velatura\[8bit\]'"):
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
