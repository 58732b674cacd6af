"""One step of the loop on a few layers, without a base: what reaches the optimizer, and what a bad loss leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainers.adapters.layers import attach_to, make_input, make_layers, shake
from tests.trainers.tiny_runs import quick_settings
from trainers.adapters.methods.lora import LoRA
from trainers.device import make_accelerator
from trainers.models.schedule import schedule_from_config
from trainers.training import loop
from trainers.training.session import Session
from trainers.training.step.batches import Batch
from trainers.training.step.gradients import GradientWatch
from trainers.training.step.optim import MovingAverage, parameter_groups

pytestmark = pytest.mark.slow

Step = Callable[..., tuple[dict[str, Any], Tensor, Tensor]]


@pytest.fixture
def session() -> Session:
    """A LoRA on a few layers, with a moving average."""
    network = attach_to(make_layers(), LoRA(rank=2, alpha=1.0))
    shake(network)
    config = quick_settings("unused", Path("unused"))
    accelerator = make_accelerator(config.train, torch.device("cpu"), torch.float32, "unused")
    record = SimpleNamespace(show_life=lambda: None)
    return Session(None, config, None, network, record, accelerator, average=MovingAverage(network, 0.5))


@pytest.fixture
def step(session: Session, monkeypatch: pytest.MonkeyPatch) -> Step:
    """Make a step of gradient descent at rate 1: its facts, and θ in one row before and after it."""

    def take(*factors: float, **settings: Any) -> tuple[dict[str, Any], Tensor, Tensor]:
        """The i-th batch's loss is its factor times the mean of all outputs' squares."""
        layers, x = [site.layer for site in session.network.sites], make_input()

        def loss(session: Session, batch: SimpleNamespace, *_: Any) -> tuple[Tensor, Tensor]:
            value = factors[batch.index] * layers[0](x).square().mean()
            return value, value

        monkeypatch.setattr(loop, "_loss", loss)
        train = {"learning_rate": 1.0, "accumulation": len(factors), "max_grad_norm": 0.0, **settings}
        session.config = quick_settings("unused", Path("unused"), {"train": train})
        batches = SimpleNamespace(make=lambda index: SimpleNamespace(index=index, noisy=torch.zeros(1)))
        reached = SimpleNamespace(reaches=True)
        optimizer = torch.optim.SGD(parameter_groups(session.network, session.config.train))
        before = row(session)
        with session.network.training_step(0, of=1) as now:
            watch = GradientWatch(session.network, session.config, done=0)
            facts = loop._step(session, batches, reached, session.network, optimizer, now, watch)
        return facts, before, row(session)

    return take


def row(session: Session) -> Tensor:
    """θ as one vector."""
    return torch.cat([p.detach().flatten() for p in session.network.parameters()])


def put(session: Session, theta: Tensor) -> None:
    parts = theta.split([p.numel() for p in session.network.parameters()])
    with torch.no_grad():
        for parameter, part in zip(session.network.parameters(), parts, strict=True):
            parameter.copy_(part.view_as(parameter))


def test_accumulated_batches_make_the_step_of_their_mean(session, step):
    facts, start, accumulated = step(1.0, 2.0, 3.0, 6.0)
    put(session, start)
    alone, _, expected = step(3.0)
    assert (accumulated - start).norm() > 1e-3
    torch.testing.assert_close(accumulated, expected)
    assert facts["loss"] == pytest.approx(alone["loss"]) and facts["grad_norm"] == pytest.approx(alone["grad_norm"])


def test_a_gradient_is_cut_to_its_largest_norm(session, step):
    facts, start, after = step(1.0, max_grad_norm=0.01)
    assert facts["grad_norm"] > 0.02  # of the gradient as it was
    assert (after - start).norm().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("factors", [(float("nan"),), (1.0, float("inf"))])
def test_a_loss_that_is_not_finite_changes_nothing(factors, session, step):
    facts, start, after = step(*factors)
    assert not facts["good"] and torch.equal(start, after) and session.average.updates == 0
    facts, start, after = step(1.0)
    assert facts["good"] and not torch.equal(start, after) and session.average.updates == 1


def test_what_is_exported_is_the_moving_average(session, step):
    _, start, after = step(1.0)
    with session.as_exported():
        torch.testing.assert_close(row(session), start + 9 / 11 * (after - start))  # d = min(0.5, 2/11)
    assert torch.equal(row(session), after)


class Waits(TorchDispatchMode):
    """Counts the numbers that are read from tensors."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("factors", [(1.0,), (1.0, 2.0, 0.5), (float("nan"),)])
def test_a_step_waits_once_for_the_device(
    session: Session, step: Step, factors: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = len(session.network.sites)
    lists: list[int] = []
    as_list = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda tensor: lists.append(tensor.numel()) or as_list(tensor))
    taken = loop._step

    def counted(*args: Any) -> dict[str, Any]:
        with Waits() as waits:
            facts = taken(*args)
        assert waits.count == 0
        return facts

    monkeypatch.setattr(loop, "_step", counted)
    step(*factors)
    assert lists == [3 + layers]  # both losses, the norm of all gradients, and each layer's largest


def test_the_times_are_read_before_the_network_runs(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them from a card waits for all that it has to compute by then."""
    order: list[str] = []
    as_cpu = Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: order.append("read") or as_cpu(tensor))
    schedule = schedule_from_config({}, "epsilon")
    session.model = SimpleNamespace(schedule=schedule)
    batch = Batch(*torch.randn(2, 1, 4, 8, 8), torch.tensor([500]), [""], None, None, (True,))

    def run(noisy: Tensor, *_: Any) -> tuple[Tensor]:
        order.append("run")
        return (noisy,)

    with session.network.training_step(0, of=1) as now:
        loss, _ = loop._loss(session, batch, run, now, 0)
    assert loss.isfinite() and order == ["read", "run"]


def test_each_image_s_loss_has_its_weight(session: Session) -> None:
    session.model = SimpleNamespace(schedule=schedule_from_config({}, "epsilon"))
    noisy, target = torch.randn(2, 3, 4, 8, 8)
    batch = Batch(noisy, target, torch.tensor([500] * 3), [""] * 3, None, None, (True,) * 3)

    def loss_of(weights: Tensor | None) -> float:
        with session.network.training_step(0, of=1) as now:
            weighted = dataclasses.replace(batch, weights=weights)
            loss, _ = loop._loss(session, weighted, lambda noisy, *_: (noisy,), now, 0)
        return loss.item()

    alone = [loss_of(torch.eye(3)[row]) for row in range(3)]
    assert loss_of(None) == pytest.approx(sum(alone))
    assert loss_of(torch.tensor([2.0, 0.5, 1.0])) == pytest.approx(2 * alone[0] + alone[1] / 2 + alone[2])
