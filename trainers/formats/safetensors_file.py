"""Writes safetensors files atomically, with the hashes that tools expect.

Layout: 8 bytes little-endian header length, the header (JSON, padded with spaces to a multiple of 8), then the tensors'
bytes, by element size, largest first, and by name. The header is written here and not by the library, whose metadata
order changes from run to run: equal runs must give equal files.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from trainers.atomic_files import replace_file, sync_folder
from trainers.errors import DISK_FULL, VelaturaError

ELEMENT_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}

LARGEST_HEADER = 2**20
"""Bytes; some tools show no metadata for larger headers."""

EXPENDABLE = ("ss_tag_frequency", "ss_bucket_info", "velatura.config")
"""Metadata dropped from larger headers, in this order."""


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors (CPU, contiguous; fp32, fp16 or bf16) and metadata, with hashes of the data, to `path`.

    The file is written next to `path`, verified by reading it back, and moved into place; a failure leaves nothing
    behind. Raises VelaturaError if the disk is full, `path` cannot be written or the data read back differ.
    """
    ordered = dict(sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])))
    header = _fitting_header(ordered, {**metadata, **data_hashes(ordered, metadata)})
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("wb") as file:
            file.write(header)
            for tensor in ordered.values():
                file.write(_bytes(tensor))
            file.flush()
            os.fsync(file.fileno())
        _check_written(part, ordered)
        replace_file(part, path)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise VelaturaError(
                "the disk is full, so {path} was not written; free some space and try again", path=path, code=DISK_FULL
            ) from error
        raise VelaturaError("cannot write {path}: {reason}", path=path, reason=error.strerror or error) from error
    finally:
        _remove(part)


def data_hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata with hashes of the tensors' bytes.

    `sshs_model_hash`, which A1111 shows, is the SHA-256 of everything after the header; `sshs_legacy_hash` that of
    64 KiB at offset 1 MiB in a file with only `ss_` metadata.
    """
    data, legacy = hashlib.sha256(), hashlib.sha256()
    start, end = 0x100000, 0x110000
    position = 0
    ss_header = _header(tensors, {key: value for key, value in metadata.items() if key.startswith("ss_")})
    chunks: list[bytes | memoryview] = [ss_header, *map(_bytes, tensors.values())]
    for index, chunk in enumerate(chunks):
        if index:
            data.update(chunk)
        legacy.update(chunk[max(0, start - position) : max(0, end - position)])
        position += len(chunk)
    digest = data.hexdigest()
    return {
        "sshs_model_hash": digest,
        "sshs_legacy_hash": legacy.hexdigest()[:8],
        "modelspec.hash_sha256": f"0x{digest}",
    }


def _fitting_header(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    header = _header(tensors, metadata)
    for key in EXPENDABLE:
        if len(header) < LARGEST_HEADER:
            break
        metadata.pop(key, None)
        header = _header(tensors, metadata)
    return header


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": ELEMENT_TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data  # a view, not a copy


def _check_written(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import SafetensorError

    try:
        for name, stored in _stored(path):
            if not torch.equal(stored, tensors[name]):
                raise VelaturaError("{name} reads back differently from what was written; check the disk", name=name)
    except SafetensorError as error:
        raise VelaturaError("the written file cannot be read back ({error}); check the disk", error=error) from error


def _stored(path: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            yield name, file.get_tensor(name)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ENOENT):
            raise
