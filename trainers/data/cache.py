"""Latents, masks and text embeddings on disk, keyed by content and by everything that changes them.

Every image and caption is encoded alone and returned on the CPU, so the bits do not depend on the cache or on the rest
of the batch. Damaged files are encoded again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from trainers.atomic_files import replace_file
from trainers.data.dataset import CENTRE, Dataset, Draw, Item, mask, pixels
from trainers.errors import VelaturaError

VERSION = "1"
"""Part of every key; changes with the pixels or the layout of the files."""
CHECKSUM = "checksum"

EncodeImages = Callable[[Tensor], tuple[Tensor, Tensor]]
EncodeCaptions = Callable[[list[str]], Mapping[str, Tensor]]


class LatentCache:
    """Means and standard deviations of the autoencoder's posteriors.

    `base_key` identifies other influences: the autoencoder's weights, number format and device.
    """

    def __init__(self, folder: Path, base_key: str, enabled: bool = True) -> None:
        self.folder = folder
        self.base_key = base_key
        self.enabled = enabled

    def get_or_encode(self, dataset: Dataset, draws: Sequence[Draw], encode: EncodeImages) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the draws, (n, c, h/8, w/8) each; `encode` takes pixels (1, 3, h, w).

        Only missing entries are encoded; random crops are never cached.
        Raises VelaturaError when a file cannot be written.
        """
        done: dict[str, dict[str, Tensor]] = {}
        keys = [self._key(dataset, draw) for draw in draws]
        for key, draw in zip(keys, draws, strict=True):
            if key in done:
                continue
            path = self.folder / f"{key}.safetensors"
            kept = self.enabled and draw.crop == CENTRE
            entry = _read(path, ("mean", "std")) if kept else None
            if entry is None:
                mean, std = encode(pixels(dataset.items[draw.item_index], draw)[None])  # (3, h, w) -> (1, 3, h, w)
                entry = _plain({"mean": mean, "std": std})
                if kept:
                    _write(path, entry)
            done[key] = entry
        return torch.cat([done[key]["mean"] for key in keys]), torch.cat([done[key]["std"] for key in keys])

    def _key(self, dataset: Dataset, draw: Draw) -> str:
        item = dataset.items[draw.item_index]
        return _key("latent", self.base_key, item.content_hash, *item.bucket.shape, *draw.crop, draw.flip)


class MaskCache:
    """Masks, next to their images' latents: each is decoded and resized once."""

    def __init__(self, folder: Path, enabled: bool = True) -> None:
        self.folder = folder
        self.enabled = enabled

    def get_or_make(self, item: Item, draw: Draw) -> Tensor | None:
        """The item's `mask`, `(1, h/8, w/8)`; masks of random crops are never cached.

        Raises VelaturaError when a file cannot be written.
        """
        if not item.mask_hash or not self.enabled or draw.crop != CENTRE:
            return mask(item, draw)
        key = _key("mask", item.mask_hash, *item.bucket.shape, draw.flip)
        path = self.folder / f"{key}.safetensors"
        entry = _read(path, ("mask",))
        if entry is None:
            made = mask(item, draw)
            assert made is not None
            entry = _plain({"mask": made})
            _write(path, entry)
        return entry["mask"]


class TextCache:
    """Text embeddings, one entry per caption.

    `encoder_key` identifies other influences: the encoders' weights, clip skip, chunks, number format and device.
    Entries are also kept in memory up to `memory` bytes.
    """

    def __init__(self, folder: Path, encoder_key: str, enabled: bool = True, memory: int = 1 << 29) -> None:
        self.folder = folder
        self.encoder_key = encoder_key
        self.enabled = enabled
        self._room = memory
        self._entries: dict[str, dict[str, Tensor]] = {}

    def get_or_encode(self, captions: Sequence[str], encode: EncodeCaptions) -> dict[str, Tensor]:
        """The encoders' outputs for the captions, by name, stacked along their first dimension.

        `encode` takes a list of one caption and returns tensors whose first dimension is 1.
        Raises VelaturaError when a file cannot be written.
        """
        done = {caption: self._entry(caption, encode) for caption in dict.fromkeys(captions)}
        names = done[captions[0]]
        return {name: torch.cat([done[caption][name] for caption in captions]) for name in names}

    def _entry(self, caption: str, encode: EncodeCaptions) -> dict[str, Tensor]:
        if not self.enabled:
            return _plain(encode([caption]))
        key = _key("text", self.encoder_key, caption)
        if key in self._entries:
            return self._entries[key]
        path = self.folder / f"{key}.safetensors"
        entry = _read(path)
        if entry is None:
            entry = _plain(encode([caption]))
            _write(path, entry)
        size = sum(tensor.nbytes for tensor in entry.values())
        if size <= self._room:
            self._room -= size
            self._entries[key] = entry
        return entry


def _key(*values: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, (VERSION, *values))).encode()).hexdigest()[:40]


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as read from a file: on the CPU, contiguous, detached."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}


def _checksum(tensors: Mapping[str, Tensor]) -> Tensor:
    """SHA-256 over names, shapes, types and bytes, (32,) uint8; safetensors itself does not notice changed values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def _read(path: Path, names: tuple[str, ...] = ()) -> dict[str, Tensor] | None:
    """The tensors of a file; None if it is missing, damaged or incomplete."""
    try:
        tensors = load(path.read_bytes())
    except (OSError, safetensors.SafetensorError, ValueError):
        return None
    checksum = tensors.pop(CHECKSUM, None)
    if checksum is None or not torch.equal(checksum, _checksum(tensors)) or any(name not in tensors for name in names):
        return None
    return dict(sorted(tensors.items()))


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(save(tensors | {CHECKSUM: _checksum(tensors)}))
        replace_file(part, path)  # not synced: entries truncated by a power cut are encoded again
    except OSError as error:
        part.unlink(missing_ok=True)
        raise VelaturaError(
            "The cache cannot be written to {parent} ({reason}): free some space, or train with data.cache = false.",
            parent=path.parent,
            reason=error.strerror or error,
        ) from error
