"""An optimizer step of a training loop: the context of its passes, and the methods' penalties and hooks around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from trainers.adapters.context import ForwardContext
from trainers.adapters.hooks import Step
from trainers.errors import VelaturaError, check_argument

if TYPE_CHECKING:
    from trainers.adapters.network import Network


class TrainingStep:
    """An optimizer step of a network, from `Network.training_step`.

    Hooks that a loop does not call run before or after an optimizer moves the network's parameters.
    """

    def __init__(self, network: Network, step: Step) -> None:
        self._network, self._step = network, step
        self._shifted: list[tuple[Tensor, Tensor]] = []
        self._is_penalised = self._is_measured = self._has_stepped = self._is_over = False

    @property
    def number(self) -> int:
        """Its number, from 0."""
        return self._step.number

    def begin_batch(self, index: int = 0, of: int = 1, **fields: Any) -> None:
        """Begin the passes of one of the step's accumulated batches, in which dropouts are drawn anew.

        `fields` are further values of the passes' `ForwardContext`, such as `uncaptioned`.
        """
        seed, number = self._step.seed, self._step.number
        fields = {"keeps_graph": True, **fields}
        self._network.holder.context = ForwardContext(seed, number * of + index, training=True, step=number, **fields)

    def penalty(self) -> Tensor | None:
        """The sum of the methods' penalties, a scalar to add to the mean loss of each batch; None without penalties.

        If it is never called, the penalty's gradient is added to the loss's.
        """
        self._is_penalised = True
        device = next(self._network.parameters()).device
        with torch.enable_grad(), torch.autocast(device.type, enabled=False):
            by_method = [method.hooks.penalty(self._network) for method in self._network.methods]
            penalties = [penalty for penalty in by_method if penalty is not None]
            return torch.stack(penalties).sum() if penalties else None

    def after_backward(self) -> None:
        """Run the hooks on complete gradients; a loop calls this before it clips or changes them."""
        if self._is_measured:
            return
        self._is_measured = True
        penalty = None if self._is_penalised else self.penalty()
        if penalty is not None and penalty.requires_grad:
            penalty.backward()
        for method in self._network.methods:
            method.hooks.after_backward(self._network, self._step)

    def after_step(self) -> None:
        """Run the hooks on the parameters after the optimizer's step, once."""
        if self._is_over:
            return
        self._is_over = True
        for method in self._network.methods:
            method.hooks.after_step(self._network, self._step)
        for word in self._network.words:
            word.after_step()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Begin the step, follow its optimizers, and end it."""
        network, before = self._network, self._network.holder.context
        for method in network.methods:
            method.hooks.begin_step(network, self._step)
        self.begin_batch()
        network.step = self
        before_each = register_optimizer_step_pre_hook(self._before_optimizer)
        after_each = register_optimizer_step_post_hook(self._shift_back)
        try:
            yield
            self._end()
        finally:
            before_each.remove()
            after_each.remove()
            network.step, network.holder.context = None, before

    def _before_optimizer(self, optimizer: torch.optim.Optimizer, args: Any, options: Any) -> None:
        parameters = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if parameters.isdisjoint(id(parameter) for parameter in self._network.parameters()):
            return
        self.after_backward()
        self._has_stepped = True
        has_closure = any(map(callable, (*args[1:], *options.values())))  # a closure computes the loss with p itself
        if not has_closure and any(group.get("weight_decay") for group in optimizer.param_groups):
            self._shift([pair for pair in self._network.decay_targets if id(pair[0]) in parameters])

    @torch.no_grad()
    def _shift(self, targets: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Make weight decay pull parameters to their targets: p ← s + (1 − ηλ)(p − s), minus the optimizer's step.

        The optimizer sees p − s while it steps, so this works for every optimizer and kind of decay.
        """
        self._shifted = [(parameter, start) for parameter, start in targets if parameter.grad is not None]
        for parameter, start in self._shifted:
            parameter.sub_(start.to(parameter))

    @torch.no_grad()
    def _shift_back(self, *_: Any) -> None:
        for parameter, start in self._shifted:
            parameter.add_(start.to(parameter))
        self._shifted = []

    def _end(self) -> None:
        if self._has_stepped:
            self.after_step()
        elif not self._is_over and self._has_gradients():
            raise VelaturaError(
                "no optimizer has used the gradients of training step {number}: call optimizer.step() once, for all "
                "accumulated batches, inside `with network.training_step(…)`",
                number=self.number,
            )

    def _has_gradients(self) -> bool:
        """Whether there are gradients that an optimizer could use: finite ones that are not all zero."""
        gradients = [p.grad for p in self._network.parameters() if p.grad is not None]
        return 0 < float(torch.nn.utils.get_total_norm(gradients)) < float("inf")


def make_step(number: int, of: int, seed: int, rates: Sequence[float]) -> Step:
    """Step `number` of `of`; VelaturaError if it does not exist or the number of rates is wrong."""
    check_argument("of", of, isinstance(of, Integral), "300")
    check_argument("step", number, isinstance(number, Integral), "0")
    if not 0 <= number < of:
        raise VelaturaError(
            "training step {number} is not one of {of}: steps are numbered from 0 to {last}",
            number=number,
            of=of,
            last=of - 1,
        )
    try:
        rates = tuple(float(rate) for rate in rates)
    except (TypeError, ValueError):
        raise VelaturaError("rates is {rates!r}, and must be a number for each step", rates=rates) from None
    if rates and len(rates) != of:
        raise VelaturaError(
            "rates has {count} numbers for {of} training steps: give one for each step", count=len(rates), of=of
        )
    return Step(number, of, seed, rates or (1.0,) * of)
