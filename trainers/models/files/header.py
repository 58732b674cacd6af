"""Reads the header of a safetensors file: names, shapes and metadata, without weights.

Layout: 8 bytes little-endian length n, then n bytes of JSON, then the tensors' bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from trainers.errors import VelaturaError
from trainers.models.files.gguf import is_gguf, read_gguf

LARGEST_HEADER = 16 * 2**20
"""Bytes; a full checkpoint's header is a few hundred kB."""


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file: shape and number format by tensor name, and text metadata."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    formats: Mapping[str, str] = field(default_factory=dict)
    """safetensors' names, such as `F16`."""


def read_header(path: Path) -> Header:
    """Read the header of `path`; VelaturaError if the file is empty, unreadable or not a safetensors file.

    That of a GGUF file is read as well.
    """
    try:
        if is_gguf(path):
            tensors, metadata = read_gguf(path)
            return Header({name: each.shape for name, each in tensors.items()}, metadata)
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size == 0:
                raise VelaturaError("{name} is empty; copy or download it again", name=path.name)
            if not 2 <= length <= size - 8:
                raise VelaturaError("{name} is not a .safetensors file; use one that is", name=path.name)
            if length > LARGEST_HEADER:
                _refuse_header(path, length, file.read(1))
            entries = json.loads(file.read(length))
            metadata = _text_metadata(entries.pop("__metadata__", None))
            shapes = {name: tuple(map(int, entry["shape"])) for name, entry in entries.items()}
            formats = {name: str(entry.get("dtype", "")) for name, entry in entries.items()}
            last = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except OSError as error:
        raise VelaturaError("cannot read {path}: {strerror}", path=path, strerror=error.strerror) from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise VelaturaError("{name} is not a .safetensors file: its header is invalid", name=path.name) from error
    if size != 8 + length + last:
        raise VelaturaError(
            "{name} is truncated or damaged ({size} bytes, but its header says {length}); copy or download it again",
            name=path.name,
            size=size,
            length=8 + length + last,
        )
    return Header(shapes, metadata, formats)


def pickle_error(name: str) -> VelaturaError:
    """The error for a pickled checkpoint."""
    return VelaturaError(
        "{name} is a pickle, which can run code when opened, so it is refused: convert it to "
        ".safetensors in a tool you trust (A1111's Checkpoint Merger with only model A and format "
        "safetensors), and use that",
        name=name,
    )


def _refuse_header(path: Path, length: int, start: bytes) -> NoReturn:
    """Raise VelaturaError for a header that is too long, or a file without header."""
    if start != b"{":
        raise VelaturaError("{name} is not a .safetensors file; use one that is", name=path.name)
    raise VelaturaError(
        "{name} has a header of {length:.0f} MB, and the limit is {largest_header} MB; remove the long "
        "texts from its metadata",
        name=path.name,
        length=length / 2**20,
        largest_header=LARGEST_HEADER // 2**20,
    )


def _text_metadata(written: Any) -> dict[str, str]:
    """The `__metadata__` of a header as texts, empty if missing; TypeError if it is not an object."""
    if not isinstance(written, dict | None):
        raise TypeError("metadata that is not an object")
    return {str(key): str(value) for key, value in (written or {}).items()}
