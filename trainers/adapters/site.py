"""Hook points: modules of the base with methods on them. A site is a hook point on a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parameter import is_lazy

from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.op import Op, Packed, is_computed, weights_on_device
from trainers.adapters.updates.dense import Dense
from trainers.adapters.updates.tensors import at_least_fp32
from trainers.errors import VelaturaError
from trainers.messages import Message

if TYPE_CHECKING:
    from trainers.adapters.block import BlockMethod
    from trainers.adapters.method import LayerUpdate, Theta
    from trainers.adapters.updates import Update

OUTSIDE = Message(
    "the method on {path} has hooks or dropouts, so train it within `with network.training_step(step, of=steps):`; "
    "passes that do not train belong under torch.no_grad() or after network.eval()"
)

OUT_OF_REACH = Message(
    "a grouped convolution, one with other padding than zeros, or a layer that nn.MultiheadAttention does not call"
)
COMPUTED = Message(
    "its weight is computed, so a merge into it would be lost; fold the parametrization or pruning in first"
)
LAZY = Message("its size is not known before its first input; call the network once first")

M = TypeVar("M", bound="LayerUpdate | BlockMethod")
ROUNDING = 2.0**-22
"""Share of a weight's largest number up to which a change is taken for an error of fp32."""


def learns(theta: Theta) -> bool:
    """Whether any tensor of θ still trains."""
    return any(tensor.requires_grad for tensor in theta.values())


class MethodTensors(nn.Module):
    """Tensors of a method; frozen counts and scalars stay on the CPU, where reading them waits for no device."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, value in tensors.items():
            if isinstance(value, nn.Parameter):
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value, persistent=getattr(value, "persistent", True))

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> MethodTensors:
        held = {n: b for n, b in self._buffers.items() if b is not None and not (b.is_floating_point() and b.dim())}
        super()._apply(function, recurse)
        self._buffers.update(held)
        return self


class TensorView(Mapping[str, Tensor]):
    """A live view of a module's own parameters and buffers by name."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __getitem__(self, name: str) -> Tensor:
        held: Mapping[str, Tensor | None] = self._module._parameters
        tensor = held[name] if name in held else self._module._buffers[name]
        assert tensor is not None
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter((*self._module._parameters, *self._module._buffers))

    def __len__(self) -> int:
        return len(self._module._parameters) + len(self._module._buffers)


@dataclass(frozen=True)
class Placement(Generic[M]):
    """A method on a hook point: its θ, its shared tensors, its learning-rate ratio and its strength there."""

    method: M
    module: nn.Module
    shared: Theta = field(default_factory=dict)
    learning_rate: float = 1.0
    strength: float = 1.0

    @property
    def theta(self) -> Theta:
        """A live view of the method's tensors here."""
        return TensorView(self.module)

    @property
    def tensors(self) -> Theta:
        """The same with the shared ones."""
        return {**self.shared, **self.theta} if self.shared else self.theta


class HookPoint(nn.Module, Generic[M]):
    """A module of the base with methods on it; owns their θ and acts through hooks until they are removed."""

    def __init__(self, part: str, path: str, holder: ContextHolder):
        super().__init__()
        self.part, self.path = part, path
        self._holder = holder
        self.thetas = nn.ModuleList()
        self._placed: list[Placement[M]] = []

    @property
    def name(self) -> str:
        return f"{self.part}.{self.path}"

    @property
    def placed(self) -> tuple[Placement[M], ...]:
        return tuple(self._placed)

    @property
    def context(self) -> ForwardContext:
        """The context of the pass, or of `updates`."""
        return self._holder.context

    def attach(
        self, method: M, theta: MethodTensors, shared: Theta, learning_rate: float = 1.0, strength: float = 1.0
    ) -> None:
        """Attach a method with a given θ."""
        self.thetas.append(theta)
        self._placed.append(Placement(method, theta, shared, learning_rate, strength))

    def active(self, context: ForwardContext) -> Iterator[Placement[M]]:
        """The methods that act in a pass: those that module dropout keeps.

        Raises VelaturaError if a method that needs a training step would train outside of one.
        """
        outside = not context.training and self.training and torch.is_grad_enabled()
        for placed in self._placed:
            if outside and placed.method.needs_training_step and learns(placed.theta):
                raise VelaturaError(OUTSIDE, path=self.path)
            share = placed.method.module_dropout
            if not (context.training and share > 0 and context.chance(self, "module") < share):
                yield placed


def with_graph(y: Tensor, context: ForwardContext) -> Tensor:
    """The output of a layer or block whose methods are all dropped, with a graph for backward() if the pass needs one.

    It gives no parameter a gradient.
    """
    if y.requires_grad or not (context.keeps_graph and torch.is_grad_enabled()):
        return y
    return y.detach().requires_grad_().clone()  # not the leaf itself, which cannot be changed in place


class Site(HookPoint["LayerUpdate"]):
    """A layer with methods on it: adds their updates to the layer's output through one hook."""

    def __init__(self, part: str, path: str, layer: nn.Module, holder: ContextHolder):
        super().__init__(part, path, holder)
        self.op = Op.of(layer)
        self._layer = (layer,)  # in a tuple, so that state_dict() is θ alone
        self._handle = layer.register_forward_hook(self._add, with_kwargs=True)
        self._layer_forward = layer.forward
        self._fused = False  # whether the current pass ran W + ΔW as one product

    @property
    def layer(self) -> nn.Module:
        return self._layer[0]

    @property
    def device(self) -> torch.device:
        """Device of the layer."""
        return next(chain(self.layer.parameters(), self.layer.buffers())).device

    def weight(self) -> Tensor:
        """The layer's frozen weight, `(out, in[, kh, kw])`; dequantised if it is packed."""
        with weights_on_device(self.layer):
            weight = self.layer.weight
            assert isinstance(weight, Tensor)
            return weight.detach()

    def bias(self) -> Tensor | None:
        """The layer's frozen bias, `(out,)`, if it has one."""
        bias = self.layer.bias
        return bias.detach() if isinstance(bias, Tensor) else None

    def put(self, method: LayerUpdate, shared: Theta, draw: torch.Generator, learning_rate: float = 1.0) -> None:
        """Attach a method to the layer, initially without effect."""
        theta = MethodTensors(method.init(self, shared, draw)).to(self.device)
        self.attach(method, theta, shared, learning_rate)
        if method.trains_base:
            self.layer.forward = self._run  # a forward hook would come after the layer's product

    def updates(self, context: ForwardContext | None = None) -> tuple[Update, ...]:
        """The current updates at full strength, without dropout unless `context` is for training."""
        holder, during = self._holder, self._holder.context
        holder.context = context if context is not None else ForwardContext()
        try:
            return tuple(self._update(placed) for placed in self._placed)
        finally:
            holder.context = during

    def adds_to(self, first: object) -> bool:
        """Whether its change adds to that of another network's site, the first on this layer."""
        if any(placed.method.trains_base for placed in self._placed):
            return False  # it computes the layer's output anew
        return self is first or not any(update.uses_base_output for update in self.updates())

    def dense(self) -> Tensor:
        """The sum of all updates as ΔW, the shape of the weight, in fp32 (fp64 in an fp64 network)."""
        W = at_least_fp32(self.weight())
        return torch.stack([u.dense(W) for u in self.updates()]).sum(0)

    def shift(self) -> Tensor | None:
        """The sum of all updates' shifts of the bias, `(out,)`, or None."""
        shifts = [u.shift for u in self.updates() if u.shift is not None]
        return torch.stack(shifts).sum(0) if shifts else None

    @torch.no_grad()
    def is_idle(self, rounding: float = ROUNDING) -> bool:
        """Whether every change of weight and bias is within this share of their largest number."""
        for tensor, change in ((self.weight(), self.dense()), (self.bias(), self.shift())):
            if change is None:
                continue
            largest = 0.0 if tensor is None else tensor.abs().max().item()
            if not change.abs().max().item() <= rounding * largest:  # also if it is NaN
                return False
        return True

    @torch.no_grad()
    def merge(self, strength: float) -> None:
        """Add the change to the layer, rounded once, and remove the hook; a packed layer is unpacked."""
        with weights_on_device(self.layer, keep=True):
            W, shift = self.weight(), self.shift()
            changed = at_least_fp32(W) + strength * self.dense()
            if isinstance(self.layer, Packed):
                self.layer.unpack(changed.to(W.dtype))
            else:
                W.copy_(changed)
            if shift is not None:
                bias = self.bias()
                if bias is None:
                    self.layer.bias = nn.Parameter(W.new_zeros(self.op.out), requires_grad=False)
                    bias = self.layer.bias.detach()
                bias.copy_(at_least_fp32(bias) + strength * shift)
        self.remove()

    def remove(self) -> None:
        """Remove the hook, which restores the layer."""
        self._handle.remove()
        if self.layer.__dict__.get("forward") == self._run:
            if getattr(self._layer_forward, "__self__", None) is self.layer:
                del self.layer.forward
            else:  # another network's
                self.layer.forward = self._layer_forward

    def _run(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        """The layer's output, computed with W + ΔW in one product if the only update allows that."""
        (inputs,) = (*args, *kwargs.values())
        x = self.op.batched(inputs)
        update = self._instead_of_weight(x)
        self._fused = update is not None
        if update is None:
            return self._layer_forward(inputs)
        y, bias = update.apply_with(self.op, x, self.weight()), self.bias()
        y = y if bias is None else y + self.op.over_channels(bias)
        if x is inputs:
            return y
        return y.reshape(inputs.shape) if self.op.is_norm else y[0]

    def _instead_of_weight(self, x: Tensor) -> Dense | None:
        """The layer's only update at its strength, if it can run with the weight in one product now."""
        holder, weight = self._holder, self.layer._parameters.get("weight")
        if len(self._placed) != 1 or not holder.strength:
            return None
        if weight is None:
            return None  # packed: the unpacked weight would be kept for backward
        if holder.context.training and self._placed[0].method.input_dropout:
            return None  # the update reads other inputs than the weight
        for placed in self.active(holder.context):
            update = self._update(placed)
            if isinstance(update, Dense) and update.replaces(weight, x):
                return update if holder.strength == 1 else update.scaled(holder.strength)
        return None

    def _add(self, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
        holder = self._holder
        if self._fused or not holder.strength:
            return output
        (x,), bias = (*args, *kwargs.values()), self.bias()
        x, y = self.op.batched(x), self.op.batched(output)
        base: Tensor | None = None
        out = y
        for placed in self.active(holder.context):
            update = self._update(placed)
            if update.uses_base_output and base is None:
                base = y if bias is None else y - self.op.over_channels(bias)
            part = update if holder.strength == 1 else update.scaled(holder.strength)
            out = part.apply(self.op, self._drop_inputs(x, placed.method, holder.context), base, onto=out)
        if out is y:
            return with_graph(output, holder.context)
        return out if y is output else out.reshape(output.shape)

    def _update(self, placed: Placement[LayerUpdate]) -> Update:
        update = placed.method.update(placed.tensors, self)
        if isinstance(update, Tensor):
            raise VelaturaError(
                "{name}.update returned a tensor on {path}; return an update, such as Dense(ΔW)",
                name=type(placed.method).__name__,
                path=self.path,
            )
        return update if placed.strength == 1 else update.scaled(placed.strength)

    def _drop_inputs(self, x: Tensor, method: LayerUpdate, context: ForwardContext) -> Tensor:
        share = method.input_dropout
        if not (context.training and share):
            return x
        kept = context.uniform(self, "input", x) >= share
        return x * kept.to(x.dtype) / (1 - share)


def obstacle(layer: nn.Module) -> str:
    """The reason why an update cannot be added to a layer and merged into its weight; empty if it can."""
    if is_computed(layer):
        return COMPUTED
    if any(tensor is not None and is_lazy(tensor) for tensor in layer._parameters.values()):
        return LAZY
    if isinstance(layer, NonDynamicallyQuantizableLinear):
        return OUT_OF_REACH  # nn.MultiheadAttention reads its weight without calling it
    try:
        Op.of(layer)
    except TypeError:
        return OUT_OF_REACH
    return ""
