"""The header of a safetensors file: names, shapes and metadata, without reading a weight.

Layout: 8 bytes little-endian length n, then n bytes of JSON, then the tensors' bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import VelaturaError

LARGEST_HEADER = 16 * 2**20
"""Bytes; a full checkpoint's header is a few hundred kB."""


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself: shape by tensor name, and its text metadata."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read the header of `path`; VelaturaError where it is empty, unreadable or no safetensors file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size == 0:
                raise VelaturaError(f"{path.name} is empty; copy or download it again")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise VelaturaError(f"{path.name} is not a safetensors file, whatever its name says; give one that is")
            entries = json.loads(file.read(length))
            metadata = entries.pop("__metadata__", {})
            shapes = {name: tuple(map(int, entry["shape"])) for name, entry in entries.items()}
            last = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except OSError as error:
        raise VelaturaError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise VelaturaError(f"{path.name} is not a safetensors file: its header makes no sense") from error
    if size != 8 + length + last:
        raise VelaturaError(
            f"{path.name} is cut short or damaged ({size} bytes, its header speaks of {8 + length + last}); "
            "copy or download it again"
        )
    return Header(shapes, {str(key): str(value) for key, value in dict(metadata or {}).items()})
