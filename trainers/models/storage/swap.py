"""Block swap: keeps weights of a transformer's blocks in main memory and copies them to the device for each pass.

The weights are frozen, so they are never copied back. A block's forward pass copies them in before and drops them
after; gradient checkpointing runs it again in backward, which copies them in again. Meanwhile a separate stream copies
the next block.

Copies replace tensors instead of writing into them, so the tensors that autograd saved of a block stay valid until its
backward is done. While a block is out, its layers hold NaN of their shape without memory, which reveals any use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.files.hub import DENOISERS

T = TypeVar("T")

IN_FLIGHT = 2
"""Copies in flight or in use when another begins."""


def swappable_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks of a transformer, in the order of execution."""
    lists = (child for child in network.children() if isinstance(child, nn.ModuleList))
    return [block for blocks in lists for block in blocks]


def choose_blocks(network: nn.Module, count: int) -> list[nn.Module]:
    """`count` of a transformer's blocks, evenly spaced, so others run while one is copied.

    Raises VelaturaError if it has fewer.
    """
    blocks = swappable_blocks(network)
    if count > len(blocks):
        raise VelaturaError(
            "base.swap_blocks = {count} is more than the {blocks} blocks of this base; set at most {blocks}",
            count=count,
            blocks=len(blocks),
        )
    return evenly_spaced(blocks, count)


def evenly_spaced(blocks: Sequence[T], count: int) -> list[T]:
    """`count` of the blocks, or of their properties, as far apart as possible."""
    return [blocks[(2 * k + 1) * len(blocks) // (2 * count)] for k in range(count)]


def waiting_blocks(network: nn.Module, part: str, settings: Base) -> list[nn.Module]:
    """The modules of a part of a base that wait in main memory until they run."""
    if part in DENOISERS:
        return choose_blocks(network, settings.swap_blocks) if settings.swap_blocks else []
    if not settings.offload_encoders:
        return []
    return list(network.children()) if part == "vae" else [network]  # an autoencoder's halves run apart


def waiting_layers(network: nn.Module, part: str, settings: Base) -> Collection[nn.Module]:
    """`waiting_blocks` with all modules inside."""
    return {module for block in waiting_blocks(network, part, settings) for module in block.modules()}


def keep_in_main_memory(network: nn.Module, part: str, settings: Base, device: torch.device | str) -> None:
    """Keep the `waiting_blocks` of a part of a base in main memory from now on."""
    blocks = waiting_blocks(network, part, settings)
    if part in DENOISERS and blocks:
        Swap(blocks, device)
        return
    for block in blocks:  # these do not run in sequence
        Swap([block], device, pinned=False)


class Swap:
    """Keeps frozen blocks, which run in sequence, in main memory from now on.

    `pinned` masters are in page-locked memory, which a graphics card reads directly; it is fast and scarce.
    """

    def __init__(self, blocks: Sequence[nn.Module], device: torch.device | str, pinned: bool = True) -> None:
        self._blocks = [_Block(block, torch.device(device), pinned) for block in blocks]
        self._copier = _Copier(torch.device(device))
        self._copies: dict[int, _Copy] = {}
        for index, held in enumerate(self._blocks):
            held.block.register_forward_pre_hook(self._before(index), prepend=True)
            held.block.register_forward_hook(self._after(index), always_call=True)
            for layer in held.block.modules():
                layer.fetch = self._fetcher(held, layer)

    def _before(self, index: int) -> Any:
        def bring_in(_block: nn.Module, _args: Any) -> None:
            copy = self._copies.pop(index, None) or self._copier.begin(self._blocks[index].masters())
            self._copies.clear()
            self._blocks[index].put(self._copier.arrived(copy))
            following = self._following(index)
            if following is not None:
                self._copies[following] = self._copier.begin(self._blocks[following].masters())

        return bring_in

    def _after(self, index: int) -> Any:
        # Also called after an incomplete pass: recomputing a block stops at the last tensor that backward needs.
        def take_out(_block: nn.Module, _args: Any, _output: Any) -> None:
            self._blocks[index].take_out()

        return take_out

    def _following(self, index: int) -> int | None:
        """The block that runs next: in backward the previous one, without gradients the first of the next pass."""
        if torch._C._current_graph_task_id() != -1:
            return index - 1 if index else None
        if index + 1 < len(self._blocks):
            return index + 1
        return 0 if index and not torch.is_grad_enabled() else None

    def _fetcher(self, block: _Block, layer: nn.Module) -> Any:
        def fetch(keep: bool = False) -> AbstractContextManager[None]:
            is_on_device = block.is_in or layer in block.fetched
            return nullcontext() if is_on_device else self._fetched(block, layer, keep)

        return fetch

    @contextmanager
    def _fetched(self, block: _Block, layer: nn.Module, keep: bool) -> Iterator[None]:
        """Copy a layer to the device within the context; with `keep`, its tensors at the end become the masters."""
        slots = block.of(layer)
        copy = self._copier.begin([slot.master for slot in slots])
        for slot, tensor in zip(slots, self._copier.arrived(copy), strict=True):
            slot.put(tensor)
        block.fetched.add(layer)
        try:
            yield
        finally:
            block.fetched.remove(layer)
            if keep:
                self._copies.clear()
                slots = block.hold(layer)
            for slot in slots:
                slot.take_out()


class _Slot:
    """A layer's tensor: its master in main memory, and a placeholder while it is out."""

    def __init__(self, store: dict[str, Any], name: str, device: torch.device, pinned: bool) -> None:
        self._store, self._name, tensor = store, name, store[name]
        self._is_parameter = isinstance(tensor, nn.Parameter)
        master = tensor.detach().cpu()
        self.master = master.pin_memory() if pinned and device.type == "cuda" else master
        fill = float("nan") if tensor.is_floating_point() else 0
        placeholder = torch.full((), fill, dtype=tensor.dtype, device=device).expand(tensor.shape)
        self._placeholder = self._as_stored(placeholder)

    def put(self, tensor: Tensor) -> None:
        self._store[self._name] = self._as_stored(tensor)

    def take_out(self) -> None:
        self._store[self._name] = self._placeholder

    def _as_stored(self, tensor: Tensor) -> Tensor:
        return nn.Parameter(tensor, requires_grad=False) if self._is_parameter else tensor


class _Block:
    """A block whose weights are in main memory until it runs."""

    def __init__(self, block: nn.Module, device: torch.device, pinned: bool) -> None:
        self.block, self.is_in, self._device, self._pinned = block, False, device, pinned
        self.fetched: set[nn.Module] = set()
        """Layers on the device outside a pass."""
        self._slots: dict[nn.Module, list[_Slot]] = {}
        for layer in block.modules():
            self.hold(layer)
        self.take_out()

    def hold(self, layer: nn.Module) -> list[_Slot]:
        """Make a layer's current tensors its masters."""
        stores: tuple[dict[str, Any], ...] = (layer._parameters, layer._buffers)
        self._slots[layer] = [
            _Slot(store, name, self._device, self._pinned)
            for store in stores
            for name in store
            if store[name] is not None
        ]
        return self._slots[layer]

    def of(self, layer: nn.Module) -> list[_Slot]:
        return self._slots[layer]

    def masters(self) -> list[Tensor]:
        return [slot.master for slot in self._all()]

    def put(self, tensors: list[Tensor]) -> None:
        self.is_in = True
        for slot, tensor in zip(self._all(), tensors, strict=True):
            slot.put(tensor)

    def take_out(self) -> None:
        self.is_in = False
        for slot in self._all():
            slot.take_out()

    def _all(self) -> list[_Slot]:
        return [slot for slots in self._slots.values() for slot in slots]


@dataclass(frozen=True)
class _Copy:
    """Tensors in flight to the device, and the event that completes them."""

    tensors: list[Tensor]
    done: Any = None


class _Copier:
    """Copies masters to a device: on CUDA in parallel to the computation, elsewhere at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._begun: deque[Any] = deque()

    def begin(self, masters: list[Tensor]) -> _Copy:
        if self._stream is None:
            return _Copy([master.to(self._device, copy=True) for master in masters])
        # The host runs ahead of the card. Without waiting for the work before the last copies, their memory would still
        # be in use, and every block would get new memory.
        self._begun.append(torch.cuda.current_stream(self._device).record_event())
        if len(self._begun) > IN_FLIGHT:
            self._begun.popleft().synchronize()
        with torch.cuda.stream(self._stream):
            tensors = [master.to(self._device, non_blocking=True) for master in masters]
            return _Copy(tensors, self._stream.record_event())

    def arrived(self, copy: _Copy) -> list[Tensor]:
        if copy.done is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(copy.done)
            for tensor in copy.tensors:
                tensor.record_stream(stream)  # the copying stream must not reuse its memory before this one is done
        return copy.tensors
