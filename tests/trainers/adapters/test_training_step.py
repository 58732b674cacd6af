"""A step of one's own loop: the context of its passes, and what methods add to it, as in the trainer's loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.pairs import seldom_but
from tests.trainers.adapters.layers import attach_to, make_input, make_layers
from tests.trainers.tiny_runs import METHODS, state_of
from trainers.adapters.hooks import Step, TrainingHooks
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.adalora import AdaLoRA
from trainers.adapters.methods.dylora import DyLoRA
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.selora import SeLoRA
from trainers.adapters.methods.sora import SoRA
from trainers.adapters.methods.tlora import TLoRA
from trainers.adapters.methods.vera import VeRA
from trainers.adapters.network import Network, attach
from trainers.config.config import Config
from trainers.data.dataset import load_dataset
from trainers.errors import VelaturaError
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.runs.run import Run
from trainers.training.step.batches import Batch, Batches
from trainers.training.step.loss import timestep_weights
from trainers.training.step.trainee import Trainee
from trainers.training.train import train

STEPS = 12
STATEFUL = {
    "adalora": {"rank": 3, "alpha": 20.0, "target_rank": 2, "interval": 2, "orthogonality": 1.0},
    "selora": {"rank": 3, "interval": 3, "threshold": 1.0},
    "sora": {"rank": 3, "alpha": 2.0, "shrink": 1.5},
    "dylora": {"rank": 4, "alpha": 3.0, "unit": 2, "rank_dropout": 0.3},
}
"""Methods that change their ranks or draw them, with settings that show it within a few steps."""


class Recorded(TrainingHooks):
    """Hooks that note when they are called, and a penalty whose gradient is 1 everywhere."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def begin_step(self, network: Network, step: Step) -> None:
        self.calls.append(f"begin {step.number} of {step.of}")

    def penalty(self, network: Network) -> Tensor:
        self.calls.append("penalty")
        return torch.stack([p.sum() for p in network.parameters()]).sum()

    def after_backward(self, network: Network, step: Step) -> None:
        largest = max(float((p.grad - 1).abs().max()) for p in network.parameters() if p.grad is not None)
        self.calls.append(f"after backward, 1 + {largest:g}")

    def after_step(self, network: Network, step: Step) -> None:
        self.calls.append("after step")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What LoRA's hooks note, for this test."""
    noted: list[str] = []
    monkeypatch.setattr(LoRA, "hooks", property(lambda _: Recorded(noted)))
    return noted


@pytest.fixture
def net() -> nn.Module:
    return make_layers()


def small(net: nn.Module) -> Tensor:
    """A loss whose gradients are zero but for rounding, so that a penalty's show."""
    return 0 * net(make_input()).square().mean()


def test_the_simplest_loop_calls_everything_in_order(net: nn.Module, calls: list[str]) -> None:
    network = attach_to(net, LoRA(rank=2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = [p.detach().clone() for p in network.parameters()]
    with network.training_step(3, of=9):
        optimizer.zero_grad()
        small(net).backward()
        optimizer.step()
        assert calls[-1] != "after step"  # another optimizer may follow
    assert calls == ["begin 3 of 9", "penalty", "after backward, 1 + 0", "after step"]
    assert all(torch.allclose(old - 0.1, new) for old, new in zip(before, network.parameters(), strict=True))


def test_a_loop_that_clips_and_accumulates_adds_the_penalty_once(net: nn.Module, calls: list[str]) -> None:
    network = attach_to(net, LoRA(rank=2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    draws = []
    with network.training_step(3, of=9) as step:
        for batch in range(2):
            step.begin_batch(batch, of=2)
            draws.append((network.holder.context.draw, network.holder.context.step))
            penalty = step.penalty()
            assert penalty is not None
            ((small(net) + penalty) / 2).backward()
        step.after_backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    assert calls == ["begin 3 of 9", "penalty", "penalty", "after backward, 1 + 0", "after step"]
    assert draws == [(6, 3), (7, 3)]


def test_two_optimizers_make_one_step_and_another_network_s_makes_none(net: nn.Module, calls: list[str]) -> None:
    network, other = attach_to(net, LoRA(rank=2)), torch.optim.SGD(nn.Linear(2, 2).parameters())
    first, *rest = network.parameters()
    with network.training_step(0, of=1):
        small(net).backward()
        other.step()
        assert calls == ["begin 0 of 1"]
        torch.optim.SGD([first]).step()
        torch.optim.SGD(rest).step()
    assert calls[1:] == ["penalty", "after backward, 1 + 0", "after step"]


def test_a_step_that_loss_scaling_skips_calls_nothing_more(net: nn.Module, calls: list[str]) -> None:
    network, scaler = attach_to(net, LoRA(rank=2)), torch.amp.GradScaler("cpu")
    optimizer = torch.optim.SGD(network.parameters())
    with network.training_step(0, of=1):
        scaler.scale(small(net) * float("inf")).backward()
        scaler.step(optimizer)
        scaler.update()
    assert calls == ["begin 0 of 1"]


@pytest.mark.parametrize("method", [LoRA(rank=2, start="pissa"), LoRA(rank=2, dora=True), TLoRA(rank=2)])
def test_weight_decay_pulls_towards_the_start_but_not_while_a_closure_computes_the_loss(
    method: LayerMethod, net: nn.Module
) -> None:
    network = attach_to(net, method)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)
    before = [site.dense() for site in network.sites]
    for step in range(5):
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        with network.training_step(step, of=6):
            optimizer.step()
    assert all(torch.equal(site.dense(), change) for site, change in zip(network.sites, before, strict=True))
    at_start = [p.detach().clone() for p in network.parameters()]

    def closure() -> Tensor:
        assert all(torch.equal(p, start) for p, start in zip(network.parameters(), at_start, strict=True))
        return small(net)

    with network.training_step(5, of=6):
        optimizer.step(closure)


def test_the_context_ends_with_the_step_even_if_it_fails(net: nn.Module) -> None:
    network = attach_to(net, LoRA(rank=2))
    bare = network.holder.context
    with pytest.raises(KeyError), network.training_step(0, of=1):
        assert network.holder.context.training
        raise KeyError
    assert network.holder.context is bare and network.step is None


def test_gradients_that_no_optimizer_uses_are_an_error(net: nn.Module) -> None:
    network = attach_to(net, LoRA(rank=2))
    sentence = r"no optimizer has used the gradients of training step 4: call .*once"
    with pytest.raises(VelaturaError, match=sentence), network.training_step(4, of=9):
        net(make_input()).square().mean().backward()
    with network.training_step(4, of=9):
        network.zero_grad()  # nothing to use


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"step": 9, "of": 9}, r"training step 9 is not one of 9: steps are numbered from 0 to 8"),
        ({"step": 0, "of": 3, "rates": (1.0, 0.5)}, r"rates has 2 numbers for 3 training steps"),
    ],
)
def test_steps_that_do_not_exist_are_refused(asked: dict[str, Any], sentence: str, net: nn.Module) -> None:
    network = attach_to(net, LoRA(rank=2))
    with pytest.raises(VelaturaError, match=sentence), network.training_step(**asked):
        pass


@pytest.mark.parametrize("method", [AdaLoRA(), SeLoRA(), SoRA(), DyLoRA(), LoRA(dropout=0.1), LoRA(rank_dropout=0.1)])
def test_methods_that_need_a_step_are_not_trained_without_one(method: LayerMethod, net: nn.Module) -> None:
    network = attach_to(net, method)
    with pytest.raises(VelaturaError, match=r"strided has hooks or dropouts, so train it within `with network\.tr"):
        net(make_input())
    with torch.no_grad():
        bare = net(make_input())
    assert torch.equal(network.eval() and net(make_input()), bare)


@pytest.mark.parametrize("method", [LoRA(), VeRA()])
def test_other_methods_are_trained_without_one(method: LayerMethod, net: nn.Module) -> None:
    network = attach_to(net, method)
    net(make_input()).square().mean().backward()
    assert any(p.grad is not None and p.grad.any() for p in network.parameters())


# ---------------------------------------------------------------- the trainer's result
@pytest.fixture
def trained(request: pytest.FixtureRequest, quick: Any, no_pictures: None, tmp_path: Path) -> Iterator[tuple[Any, ...]]:
    """A run of the trainer, and the same base, data and settings for another loop."""
    method = METHODS[request.param] | STATEFUL[request.param]
    settings = {"method": method, "train": {"steps": STEPS, "max_grad_norm": 0.0}, "seed": 3}
    config = quick(settings)
    run = Run(train(config, tmp_path).run)
    model = load_model(config.base, torch.float32, "cpu")
    yield config, model, run, state_of(run, STEPS)


def batches_of(config: Config, model: Model, run: Run, network: Network) -> Batches:
    dataset = load_dataset(run.dataset, config.data, config.seed, config.data.resolution, model.stride, "")
    return Batches(run, config, model, dataset, Trainee(model, network, 1, 1), text_trains=False)


def loss_of(config: Config, model: Model, batch: Batch) -> Tensor:
    """The weighted square error of a batch's prediction."""
    assert not isinstance(batch.text, list)
    error = (model.predict(batch.noisy, batch.timesteps, batch.text, batch.time_ids).float() - batch.target).square()
    return (timestep_weights(model.schedule, batch.timesteps, config.loss) * error.mean((1, 2, 3))).mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    "trained",
    seldom_but(("adalora",), STATEFUL),
    indirect=True,
)
def test_one_s_own_loop_trains_what_the_trainer_trains(trained: tuple[Any, ...]) -> None:
    config, model, run, expected = trained
    network = attach(model.parts, config.method, config.targets, seed=config.seed)
    optimizer = torch.optim.AdamW(network.parameter_groups(1e-2), weight_decay=0.01, fused=True)
    batches = batches_of(config, model, run, network)
    for step in range(STEPS):
        with network.training_step(step, of=STEPS):
            loss_of(config, model, batches.make(step)).backward()
            optimizer.step()
            optimizer.zero_grad()
    found = {f"network {name}": tensor for name, tensor in network.state_dict().items()}
    kept = {name: tensor for name, tensor in expected.items() if name.startswith("network ")}
    assert found.keys() == kept.keys()
    for name, tensor in kept.items():
        assert torch.equal(found[name], tensor), (name, (found[name].float() - tensor.float()).abs().max())
