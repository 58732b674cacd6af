"""Blocks of a transformer whose weights wait in main memory and are copied to the device for each pass (block swap).

The weights are frozen, so they are copied in and never back. A block's forward pass begins with its weights on the
device and ends without them; gradient checkpointing runs it again in backward, which brings them in again. Meanwhile
the block that runs next is copied on a stream of its own.

Bringing in replaces tensors instead of writing into them: what autograd has saved of a block stays right, whatever is
brought in and taken out until its backward is done. While a block is out, its layers hold NaN of their shape that takes
no memory, so a weight that were used then would show.
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
"""Copies that may be on the way or in use when another begins."""


def swappable_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks of a transformer, in the order in which they run."""
    lists = (child for child in network.children() if isinstance(child, nn.ModuleList))
    return [block for blocks in lists for block in blocks]


def choose_blocks(network: nn.Module, count: int) -> list[nn.Module]:
    """`count` of a transformer's blocks, evenly spaced, so that others run while one is copied.

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
    """`count` of the blocks, or of what is known of each, as far from each other as can be."""
    return [blocks[(2 * k + 1) * len(blocks) // (2 * count)] for k in range(count)]


def waiting_blocks(network: nn.Module, part: str, settings: Base) -> list[nn.Module]:
    """The modules of a part of a base that wait in main memory while they do not run."""
    if part in DENOISERS:
        return choose_blocks(network, settings.swap_blocks) if settings.swap_blocks else []
    if not settings.offload_encoders:
        return []
    return list(network.children()) if part == "vae" else [network]  # an autoencoder's halves run apart


def waiting_layers(network: nn.Module, part: str, settings: Base) -> Collection[nn.Module]:
    """All modules in those."""
    return {module for block in waiting_blocks(network, part, settings) for module in block.modules()}


def keep_in_main_memory(network: nn.Module, part: str, settings: Base, device: torch.device | str) -> None:
    """Let a part of a base wait in main memory as its settings say, from now on."""
    blocks = waiting_blocks(network, part, settings)
    if part in DENOISERS and blocks:
        Swap(blocks, device)
        return
    for block in blocks:  # none of them runs after another
        Swap([block], device, pinned=False)


class Swap:
    """Keeps frozen blocks, which run one after the other, in main memory from now on.

    `pinned` masters are in pages that a graphics card reads by itself, which are fast and scarce.
    """

    def __init__(self, blocks: Sequence[nn.Module], device: torch.device | str, pinned: bool = True) -> None:
        self._blocks = [_Block(block, torch.device(device), pinned) for block in blocks]
        self._copier = _Copier(torch.device(device))
        self._copies: dict[int, _Copy] = {}
        for index, one in enumerate(self._blocks):
            one.block.register_forward_pre_hook(self._before(index), prepend=True)
            one.block.register_forward_hook(self._after(index), always_call=True)
            for layer in one.block.modules():
                layer.fetch = self._fetcher(one, layer)

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
        # Called also if the pass was cut short: recomputing a block ends with what backward needs.
        def take_out(_block: nn.Module, _args: Any, _output: Any) -> None:
            self._blocks[index].take_out()

        return take_out

    def _following(self, index: int) -> int | None:
        """The block that runs next: the one before in backward, the first of the next pass where nothing is learned."""
        if torch._C._current_graph_task_id() != -1:
            return index - 1 if index else None
        if index + 1 < len(self._blocks):
            return index + 1
        return 0 if index and not torch.is_grad_enabled() else None

    def _fetcher(self, block: _Block, layer: nn.Module) -> Any:
        def fetch(keep: bool = False) -> AbstractContextManager[None]:
            there = block.is_in or layer in block.fetched
            return nullcontext() if there else self._fetched(block, layer, keep)

        return fetch

    @contextmanager
    def _fetched(self, block: _Block, layer: nn.Module, keep: bool) -> Iterator[None]:
        """One layer on the device, temporarily; with `keep`, what it is then stays in main memory."""
        own = block.of(layer)
        for slot, tensor in zip(own, self._copier.arrived(self._copier.begin([s.master for s in own])), strict=True):
            slot.put(tensor)
        block.fetched.add(layer)
        try:
            yield
        finally:
            block.fetched.remove(layer)
            if keep:
                self._copies.clear()
                own = block.hold(layer)
            for slot in own:
                slot.take_out()


class _Slot:
    """The place of a layer's tensor, its master in main memory, and what stands there meanwhile."""

    def __init__(self, store: dict[str, Any], name: str, device: torch.device, pinned: bool) -> None:
        self._store, self._name, tensor = store, name, store[name]
        self._is_parameter = isinstance(tensor, nn.Parameter)
        held = tensor.detach().cpu()
        self.master = held.pin_memory() if pinned and device.type == "cuda" else held
        fill = float("nan") if tensor.is_floating_point() else 0
        self._absent = self._as_stored(torch.full((), fill, dtype=tensor.dtype, device=device).expand(tensor.shape))

    def put(self, tensor: Tensor) -> None:
        self._store[self._name] = self._as_stored(tensor)

    def take_out(self) -> None:
        self._store[self._name] = self._absent

    def _as_stored(self, tensor: Tensor) -> Tensor:
        return nn.Parameter(tensor, requires_grad=False) if self._is_parameter else tensor


class _Block:
    """A block whose weights are in main memory when it does not run."""

    def __init__(self, block: nn.Module, device: torch.device, pinned: bool) -> None:
        self.block, self.is_in, self._device, self._pinned = block, False, device, pinned
        self.fetched: set[nn.Module] = set()
        """Layers that are there outside of a pass."""
        self._slots: dict[nn.Module, list[_Slot]] = {}
        for layer in block.modules():
            self.hold(layer)
        self.take_out()

    def hold(self, layer: nn.Module) -> list[_Slot]:
        """Take what a layer holds now as its masters."""
        stores: tuple[dict[str, Any], ...] = (layer._parameters, layer._buffers)
        found = [
            _Slot(store, name, self._device, self._pinned)
            for store in stores
            for name in store
            if store[name] is not None
        ]
        self._slots[layer] = found
        return found

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
    """Tensors on their way to the device, and the event after which they are there."""

    tensors: list[Tensor]
    done: Any = None


class _Copier:
    """Copies masters to a device: on CUDA beside the computation, elsewhere at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._begun: deque[Any] = deque()

    def begin(self, masters: list[Tensor]) -> _Copy:
        if self._stream is None:
            return _Copy([master.to(self._device, copy=True) for master in masters])
        # The host runs ahead of the card. It waits for what was computed before the last copies, or their memory would
        # still be in use and every block would get memory of its own.
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
                tensor.record_stream(stream)  # its memory is not the copying stream's until this one is done with it
        return copy.tensors
