"""Hook points on whole blocks: attention, feed-forward, or the last convolution of a residual block.

The base adds a block's output to its residual after the hook has changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor, nn

from trainers.adapters.context import ContextHolder
from trainers.adapters.layouts.layout import BlockRole, Stream
from trainers.adapters.method import SETTINGS, Method, Theta
from trainers.adapters.op import Op
from trainers.adapters.roles import block_kind
from trainers.adapters.site import ROUNDING, HookPoint, MethodTensors, with_graph


@dataclass(frozen=True)
class Call:
    """A call of a block: its input x and output y, `(n, tokens, d)` or `(n, d, h, w)`, and the text, if any."""

    x: Tensor
    y: Tensor
    context: Tensor | None
    """Input of cross-attention, `(n, tokens, d_text)`; None for other blocks."""
    rerun: Callable[[Tensor, Tensor | None], Tensor]
    """The block's output for another x and context, without methods."""


@checked_dataclass(frozen=True, config=SETTINGS)
class BlockMethod(Method):
    """A method on blocks of layers; subclasses define `kinds`, `init` and `after`."""

    places: ClassVar[tuple[str, ...]] = ("block",)
    streams: ClassVar[tuple[Stream, ...]] = ("image", "text")
    """Streams of tokens in its blocks."""
    uses_timestep: ClassVar[bool] = False
    """Whether it depends on the timestep; the context then provides it."""

    module_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of blocks left unchanged in each step."""

    @property
    def kinds(self) -> tuple[BlockRole, ...]:
        """Kinds of block it changes."""
        raise NotImplementedError

    @property
    def merges(self) -> bool:
        """False: a block method changes outputs, not weights."""
        return False

    # ------------------------------------------------------------------ the formula
    def share(self, sites: Sequence[BlockSite], draw: torch.Generator) -> dict[str, Tensor]:
        """Tensors shared by blocks of one part and learning rate: Parameters train, other Tensors are frozen."""
        return {}

    def init(self, site: BlockSite, shared: Theta, draw: torch.Generator) -> dict[str, Tensor]:
        """Initial θ of a block, without effect: Parameters train, other Tensors are frozen and saved."""
        raise NotImplementedError

    def after(self, call: Call, theta: Theta, site: BlockSite) -> Tensor:
        """The block's output with the method at full strength, shape and dtype as `call.y`, before the residual.

        θ holds the shared tensors, too.
        """
        raise NotImplementedError


class BlockSite(HookPoint[BlockMethod]):
    """A block with methods on it: changes the block's output through one hook.

    Each method reads the block's *base* output, so several on one block add up in any order. A strength s interpolates:
    y + s (after − y).
    """

    def __init__(self, part: str, path: str, block: nn.Module, holder: ContextHolder):
        super().__init__(part, path, holder)
        kind = block_kind(path)
        assert kind is not None, f"{path} is not a block"
        self.role = kind.role
        inner, outer = (Op.of(block.get_submodule(end)) for end in (kind.first, kind.last))
        pointwise = () if outer.is_linear else (1, 1)
        self.op = Op((outer.out, inner.shape[1], *pointwise))
        """The block as a map from each input position to an output position: its widths."""
        self.context_width = Op.of(block.get_submodule("to_k")).fan_in if self.role == "cross_attention" else 0
        self._block = (block,)  # in a tuple, so that state_dict() is θ alone
        self._handle = block.register_forward_hook(self._change, with_kwargs=True)

    @property
    def block(self) -> nn.Module:
        return self._block[0]

    @property
    def device(self) -> torch.device:
        return next(self.block.parameters()).device

    def put(self, method: BlockMethod, shared: Theta, draw: torch.Generator, learning_rate: float = 1.0) -> None:
        """Attach a method to the block, initially without effect."""
        self.attach(method, MethodTensors(method.init(self, shared, draw)).to(self.device), shared, learning_rate)

    def is_idle(self, rounding: float = ROUNDING) -> bool:
        """Whether the methods change nothing: their tensors that start at zero are still zero."""
        for placed in self._placed:
            start = placed.method.init(self, placed.shared, torch.Generator().manual_seed(0))
            zeros = [name for name, tensor in start.items() if not tensor.any()]
            if not zeros or any(bool(placed.theta[name].any()) for name in zeros):
                return False
        return True

    def remove(self) -> None:
        """Remove the hook, which restores the block."""
        self._handle.remove()

    def _change(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        holder = self._holder
        first = output[0] if isinstance(output, tuple) else output  # CLIP's attention also returns its weights
        changed = self._changed(args, kwargs, first) if holder.strength else first
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    def _changed(self, args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor) -> Tensor:
        holder = self._holder
        named = dict(kwargs)
        x = args[0] if args else named.pop("hidden_states")

        def rerun(x: Tensor, context: Tensor | None) -> Tensor:
            arguments = named if context is None else {**named, "encoder_hidden_states": context}
            result = self.block.forward(x, *args[1:], **arguments)  # not the block itself, which has this hook
            return result[0] if isinstance(result, tuple) else result

        call = Call(x, y, named.get("encoder_hidden_states"), rerun)
        active = list(self.active(holder.context))
        if not active:
            return with_graph(y, holder.context)
        out = y
        for p in active:
            after = p.method.after(call, p.tensors, self)
            strength = holder.strength * p.strength
            if strength == 1 and len(active) == 1:
                return after  # if it does not depend on y, y needs no backward pass
            out = out + strength * (after - y)
        return out
