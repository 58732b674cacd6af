"""One training: its learning rate, what each optimizer steps, averages, log, and being cut off anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.tools.starter.small import PowerCutError, read_log
from tools.starter.networks.stage import Schedule, Stage, make_optimizer

SCHEDULE = Schedule(steps=10, batch=4, rate=0.05, plain_rate=0.01, warmup=3, ema_decay=0.6, measure_every=4)


class Net(nn.Module):
    """A table, a convolution and a matrix, with vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 6)
        self.conv = nn.Conv1d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 6)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.conv(self.table(words).transpose(1, 2)).transpose(1, 2).relu())


@dataclass
class Training:
    """A stage on a small problem of numbers drawn by step, which may be cut off at a step."""

    folder: Path
    cut: int = -1
    schedule: Schedule = SCHEDULE
    before: list[Tensor] = field(default_factory=list)
    measured: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.net = Net()

    def run(self) -> dict[str, Tensor]:
        Stage(self.folder, self.net, self.schedule, is_table).train(self.loss, self.measure)
        return self.net.state_dict()

    def loss(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        if step == self.cut:
            raise PowerCutError
        self.before.append(self.net.head.weight.detach().clone())
        words = torch.randint(5, (4, 7), generator=generator)
        found = self.net(words)
        target = torch.nn.functional.one_hot(words, 6).float() + 0.1 * torch.randn(found.shape, generator=generator)
        loss = (found - target).square().mean()
        return {"loss": loss, "words": words.float().mean()}

    def measure(self) -> dict[str, float]:
        assert not self.net.training and not torch.is_grad_enabled()
        self.measured.append(self.net.head.weight.clone())
        return {"norm": float(self.net.head.weight.norm())}


def is_table(name: str) -> bool:
    return "table" in name


def test_the_rates_rise_stay_and_fall_to_nothing():
    schedule = Schedule(steps=100, batch=1, rate=1.0, plain_rate=1.0, warmup=10, cooldown=0.3)
    factors = {step: schedule.factor(step) for step in (0, 4, 9, 50, 70, 85, 99, 100)}
    assert factors == pytest.approx({0: 0.1, 4: 0.5, 9: 1, 50: 1, 70: 1, 85: 0.5, 99: 1 / 30, 100: 0})
    assert Schedule(steps=4, batch=1, rate=1.0, plain_rate=1.0, warmup=1, cooldown=0).factor(3) == 1
    short = Schedule(steps=3, batch=1, rate=1.0, plain_rate=1.0, warmup=60, cooldown=1)
    assert all(short.factor(step) > 0 for step in range(3))


def test_matrices_go_to_muon_and_the_rest_to_adamw_each_with_its_share():
    net = nn.ModuleDict({"text": Net(), "image": Net()})
    optimizer = make_optimizer(net, SCHEDULE, is_table, {"text.": 0.3})
    names = {parameter: name for name, parameter in net.named_parameters()}
    groups = {
        (group["use_muon"], round(group["highest"], 9)): sorted(names[parameter] for parameter in group["params"])
        for group in optimizer.param_groups
    }
    matrices, rest = ("conv.weight", "head.weight"), ("conv.bias", "head.bias", "table.weight")
    assert groups == {
        (True, 0.05): [f"image.{name}" for name in matrices],
        (True, 0.015): [f"text.{name}" for name in matrices],
        (False, 0.01): [f"image.{name}" for name in rest],
        (False, 0.003): [f"text.{name}" for name in rest],
    }
    assert {group["betas"] for group in optimizer.param_groups if not group["use_muon"]} == {(0.9, 0.95)}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0}


def test_a_first_step_is_as_long_as_its_rate_says(tmp_path):
    training = Training(tmp_path, schedule=Schedule(1, 4, rate=0.05, plain_rate=0.01, warmup=4, cooldown=0))
    before = {name: tensor.clone() for name, tensor in training.net.state_dict().items()}
    change = {name: tensor - before[name] for name, tensor in training.run().items()}
    # Adam's first step is the rate times the sign, Muon's a matrix whose singular values are all about the rate.
    assert change["head.bias"].abs() == pytest.approx(torch.full((6,), 0.01 / 4), rel=1e-3)
    values = torch.linalg.svdvals(change["head.weight"]) / (0.05 / 4)
    assert values.min() > 0.4 and values.max() < 1.4


@pytest.mark.parametrize(("cut", "save_every", "taken_again"), [(5, 0.0, 5), (5, 1e9, 10)])
def test_a_training_that_was_cut_ends_with_the_same_bits(cut, save_every, taken_again, tmp_path, monkeypatch):
    monkeypatch.setattr("tools.starter.networks.stage.SAVE_EVERY", save_every)
    whole = Training(tmp_path / "whole").run()
    with pytest.raises(PowerCutError):
        Training(tmp_path / "cut", cut).run()
    resumed = Training(tmp_path / "cut")
    found = resumed.run()
    assert len(resumed.before) == taken_again
    assert all(torch.equal(found[name], tensor) for name, tensor in whole.items())
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["log.jsonl", "state.pt"]


def test_a_finished_training_is_only_read(tmp_path):
    whole = Training(tmp_path).run()
    again = Training(tmp_path, cut=SCHEDULE.steps)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in again.run().items())
    assert again.before == []


def test_lines_of_steps_that_are_taken_again_are_dropped_from_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.starter.networks.stage.LOG_EVERY", 1)
    with pytest.raises(PowerCutError):
        Training(tmp_path, cut=6).run()  # no checkpoint yet
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 3, "lo')  # the power went while a line was written
    Training(tmp_path).run()
    assert [line["step"] for line in read_log(tmp_path) if "loss" in line] == list(range(1, 11))


def test_what_has_no_gradients_is_not_trained():
    net = Net()
    net.head.requires_grad_(False)
    optimizer = make_optimizer(net, SCHEDULE, is_table, {})
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for name, parameter in net.named_parameters() if not name.startswith("head")}


def test_averaged_weights_are_measured_and_left_while_the_raw_ones_are_trained(tmp_path):
    training = Training(tmp_path)
    final = training.run()["head.weight"]
    raw = training.before[1:]  # after each step but the last
    assert len(raw) == 9 and len(training.measured) == 2
    average, averages = raw[0], [raw[0]]
    for count, weight in enumerate(raw[1:], 2):
        decay = min(count / (count + 9), 0.6)
        average = decay * average + (1 - decay) * weight
        averages.append(average)
    assert torch.allclose(training.measured[0], averages[3], atol=1e-6)
    assert torch.allclose(training.measured[1], averages[7], atol=1e-6)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    last = state["model"]["head.weight"]
    assert torch.allclose(final, (10 * average + 9 * last) / 19, atol=1e-6)
    assert (final - last).abs().max() > 1e-4


@pytest.mark.parametrize(("steepness", "length"), [(1e4, 1.0), (1e-4, 1e-4 * 186**0.5)])
def test_a_large_gradient_is_shortened_to_length_1(steepness, length, tmp_path):
    net = Net()
    count = sum(parameter.numel() for parameter in net.parameters())
    stage = Stage(tmp_path, net, Schedule(1, 4, rate=0.05, plain_rate=0.01), is_table)
    lengths: list[Tensor] = []

    def note(*call: Any) -> None:
        lengths.append(torch.cat([parameter.grad.flatten() for parameter in net.parameters()]).norm())

    stage.optimizer.register_step_pre_hook(note)
    stage.train(lambda *_: {"loss": steepness * sum(parameter.sum() for parameter in net.parameters())}, dict)
    assert all(parameter.grad is None for parameter in net.parameters())  # nothing is left for a next stage
    assert count == 186 and lengths == [pytest.approx(length, rel=1e-3)]
