"""Finds layers that do not train: those without a gradient other than zero in the first steps of a run."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trainers.adapters.network import Network
from trainers.config.config import Config
from trainers.errors import REFUSED, VelaturaError
from trainers.messages import Message
from trainers.messages import Message as _

WATCHED = 20
"""Number of accepted steps in which each layer must have a gradient."""
MOST_NAMES = 3
NOTHING_TRAINS = _("No layer had a gradient in the first {steps} steps, so nothing is learned: {cause}.")
SOME_DO_NOT = _(
    "{count} of {all} layers had no gradient in the first {steps} steps and do not train ({names}): {cause}."
)


class GradientWatch:
    """The layers that have had no gradient so far, until `WATCHED` steps are accepted."""

    def __init__(self, network: Network, config: Config, done: int) -> None:
        """`done`: number of steps before this attempt."""
        self._config, self._steps, self._loss = config, done, 0.0
        layers = {
            point.name: [parameter for placed in point.placed for parameter in placed.module.parameters()]
            for point in network.hook_points
        }
        self._silent = {name: parameters for name, parameters in layers.items() if parameters and done < WATCHED}
        self._count = len(self._silent)

    def norms(self, like: Tensor) -> Tensor:
        """The largest absolute gradient of each silent layer, `(layers,)`, with the dtype and device of a tensor."""
        return torch.stack([like.new_zeros(()), *(_largest(parameters, like) for parameters in self._silent.values())])[
            1:
        ]

    def note(self, norms: list[float], loss: float) -> Message | None:
        """Note an accepted step, with the norms before it; after the last watched one, a warning about silent layers.

        VelaturaError if no layer trains.
        """
        if not self._silent:
            return None
        self._steps, self._loss = self._steps + 1, max(self._loss, abs(loss))
        heard = [name for name, norm in zip(self._silent, norms, strict=True) if norm > 0]
        for name in heard:
            del self._silent[name]
        if self._steps < WATCHED:
            return None
        names = [name for name, parameters in self._silent.items() if _trains(parameters)]
        self._silent = {}
        if not names:
            return None
        if len(names) == self._count:
            raise VelaturaError(NOTHING_TRAINS, steps=WATCHED, cause=self._cause(), code=REFUSED)
        shown = ", ".join([*names[:MOST_NAMES], *(["…"] if len(names) > MOST_NAMES else [])])
        return SOME_DO_NOT.format(count=len(names), all=self._count, steps=WATCHED, names=shown, cause=self._cause())

    def _cause(self) -> Message:
        """The likely cause."""
        config = self._config
        if not self._loss:
            return _("the loss was 0 in each of them, as with masks that leave nothing of the images")
        if config.train.precision == "fp16":
            return _("small gradients become 0 in fp16; set train.precision = bf16 or fp32")
        if config.method.module_dropout:
            return _("method.module_dropout = {share:g} left them out", share=config.method.module_dropout)
        return _("their output does not change the prediction; leave them out of the targets")


def _largest(parameters: list[nn.Parameter], like: Tensor) -> Tensor:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return like.new_zeros(())
    return torch.stack(torch._foreach_norm(gradients, math.inf)).max().to(like)


def _trains(parameters: list[nn.Parameter]) -> bool:
    return any(parameter.requires_grad for parameter in parameters)
