"""A few steps of training without a base, around any loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainers.adapters.hooks import Step
from trainers.adapters.network import Network
from trainers.config.sections import Train
from trainers.training.step.optim import parameter_groups


def take_steps(
    network: Network,
    loss: Callable[[], Tensor],
    steps: int,
    settings: Train,
    after: Callable[[Step, torch.optim.Optimizer], Any] | None = None,
) -> torch.optim.Optimizer:
    """Train with AdamW at a constant rate; `after` is called after each step, while its gradients are still there."""
    optimizer = torch.optim.AdamW(parameter_groups(network, settings), weight_decay=settings.weight_decay)
    network.seed = 5
    for number in range(steps):
        optimizer.zero_grad(set_to_none=True)
        with network.training_step(number, of=steps):
            loss().backward()
            optimizer.step()
        if after is not None:
            after(Step(number, steps, seed=5, rates=(1.0,) * steps), optimizer)
    return optimizer
