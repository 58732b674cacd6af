"""Memory of activations in training and drawing, computed on the meta device.

The denoiser runs once, in training with the adapters on it. A step keeps the tensors that autograd saves for backward;
with gradient checkpointing, the inputs of all blocks and the tensors saved by the largest block. Drawing keeps nothing:
its peak is the largest sum of live tensors. Attention counts as on a graphics card, without its matrix of all pairs.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainers.models.model import Model
from trainers.models.text import Conditioning


@dataclass(frozen=True)
class Activations:
    """Bytes that a training step keeps for backward."""

    kept: int
    """Without gradient checkpointing."""
    recomputed: int
    """With gradient checkpointing."""
    largest: int
    """Of the largest tensor."""


@dataclass
class _Saved:
    """Storages saved for backward, each counted once."""

    weights: set[int]
    """Storages that are not counted."""
    held: dict[int, Any] = field(default_factory=dict)

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.weights:
            self.held[storage._cdata] = storage  # the reference keeps its address from being reused
        return tensor

    @property
    def sizes(self) -> list[int]:
        return [storage.nbytes() for storage in self.held.values()]


class _Live(TorchDispatchMode):
    """Adds up the live storages."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known, self._now, self.peak = known, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return output

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, address, size)

    def _forget(self, address: int, size: int) -> None:
        self._known.discard(address)
        self._now -= size


class _Flash(TorchFunctionMode):
    """Attention that saves the tensors of a fused kernel; on the meta device torch would decompose it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            query, key, value = args[:3] if len(args) >= 3 else (kwargs[name] for name in ("query", "key", "value"))
            groups = query.shape[1] // key.shape[1]
            if groups > 1:
                key, value = (heads.repeat_interleave(groups, 1) for heads in (key, value))
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]
        return func(*args, **(kwargs or {}))


class _Text(Conditioning):
    """Text that keeps its mask on the CPU, since some families read the mask's values."""

    def to(self, device: Any, dtype: Any = None) -> Conditioning:
        return self


def activations_of(model: Model, batch: int, size: tuple[int, int]) -> Activations:
    """Activations of a step with `batch` images of `size` (height, width) in pixels, for a model on the meta device."""
    network, weights = model.denoiser, _weights(model)
    outside, inside, inputs, blocks = _Saved(weights), _Saved(weights), _Saved(weights), list[int]()

    def checkpoint(block: nn.Module, *args: Any) -> Any:
        for tensor in args:
            if isinstance(tensor, Tensor):
                inputs.add(tensor)
        saved = _Saved(weights)

        def add(tensor: Tensor) -> Tensor:
            return saved.add(inside.add(tensor))

        with torch.autograd.graph.saved_tensors_hooks(add, _same):
            output = block(*args)
        blocks.append(sum(saved.sizes))
        return output

    network.enable_gradient_checkpointing(gradient_checkpointing_func=checkpoint)
    network.train()
    with _Flash(), torch.autograd.graph.saved_tensors_hooks(outside.add, _same):
        _predict(model, batch, size).sum()
    every = outside.held | inside.held
    few = outside.held | inputs.held
    return Activations(
        kept=sum(storage.nbytes() for storage in every.values()),
        recomputed=sum(storage.nbytes() for storage in few.values()) + max(blocks, default=0),
        largest=max((storage.nbytes() for storage in every.values()), default=0),
    )


@torch.no_grad()
def most_at_once(model: Model, rows: int, size: tuple[int, int]) -> int:
    """Peak bytes of a pass without gradients over `rows` images of `size` (height, width) in pixels."""
    with _Flash(), _Live(_weights(model)) as live:
        _predict(model, rows, size)
    return live.peak


def _weights(model: Model) -> set[int]:
    """Storages of the denoiser's parameters and buffers."""
    network = model.denoiser
    return {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}


def _predict(model: Model, batch: int, size: tuple[int, int]) -> Tensor:
    height, width = (side // model.vae_factor for side in size)
    latents = torch.empty(batch, model.latent_channels, height, width, device="meta")
    times = torch.empty(batch, device="meta")
    sizes = [size] * batch
    return model.predict(latents, times, _text(model, batch), model.time_ids(sizes, [(0, 0)] * batch, sizes))


def _text(model: Model, batch: int) -> Conditioning:
    config, tokens = model.config, model.family.text_positions
    width = next(config[key] for key in ("joint_attention_dim", "cap_feat_dim", "cross_attention_dim") if key in config)
    pooled = _pooled_width(config)
    return _Text(
        torch.empty(batch, tokens, width, dtype=model.dtype, device="meta"),
        torch.empty(batch, pooled, dtype=model.dtype, device="meta") if pooled else None,
        torch.ones(batch, tokens, dtype=torch.long),
    )


def _pooled_width(config: Mapping[str, Any]) -> int:
    if config.get("addition_embed_type") == "text_time":  # SDXL: pooled text beside six embedded numbers
        return int(config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"])
    return int(config.get("pooled_projection_dim") or 0)


def _same(tensor: Tensor) -> Tensor:
    return tensor
