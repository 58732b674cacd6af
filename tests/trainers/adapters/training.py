"""A few steps of training without a base: the loop's order of hooks, around any loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainers.adapters.context import ForwardContext
from trainers.adapters.hooks import Step
from trainers.adapters.network import Network
from trainers.config.sections import Train
from trainers.training.optim import parameter_groups


def take_steps(
    network: Network,
    loss: Callable[[], Tensor],
    steps: int,
    settings: Train,
    after: Callable[[Step, torch.optim.Optimizer], Any] | None = None,
) -> torch.optim.Optimizer:
    """Train with AdamW at a constant rate; `after` is called after each step, while its gradients are still there."""
    optimizer = torch.optim.AdamW(parameter_groups(network, settings), weight_decay=settings.weight_decay)
    for number in range(steps):
        step = Step(number, steps, seed=5, rates=(1.0,) * steps)
        network.holder.context = ForwardContext(seed=5, draw=number, training=True, step=number)
        optimizer.zero_grad(set_to_none=True)
        for method in network.methods:
            method.hooks.begin_step(network, step)
        value = loss()
        for method in network.methods:
            penalty = method.hooks.penalty(network)
            value = value if penalty is None else value + penalty
        value.backward()
        for method in network.methods:
            method.hooks.after_backward(network, step)
        optimizer.step()
        for method in network.methods:
            method.hooks.after_step(network, step)
        if after is not None:
            after(step, optimizer)
    network.holder.context = ForwardContext()
    return optimizer
