"""Reads the header of a safetensors file: names, shapes and metadata, without weights.

Layout: 8 bytes little-endian length n, then n bytes of JSON, then the tensors' bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from trainers.errors import VelaturaError
from trainers.models.files.gguf import TRUNCATED, is_gguf, read_gguf

LARGEST_HEADER = 16 * 2**20
"""Bytes; a full checkpoint's header is a few hundred kB."""
MOST_COUNTED = 2**60
"""Numbers in a tensor, where sides of 0 count as 1: torch computes strides in 63 bits even for an empty one."""
BITS: Mapping[str, int] = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits per number, by safetensors' names of number formats."""


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file: shape and number format by tensor name, and text metadata."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    formats: Mapping[str, str] = field(default_factory=dict)
    """safetensors' names, such as `F16`."""


def read_header(path: Path) -> Header:
    """Read the header of a safetensors or GGUF file; VelaturaError if it is empty, unreadable or neither."""
    try:
        if is_gguf(path):
            tensors, metadata = read_gguf(path)
            return Header({name: tensor.shape for name, tensor in tensors.items()}, metadata)
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
            shapes = {name: _whole_numbers(entry["shape"]) for name, entry in entries.items()}
            formats = {name: str(entry.get("dtype", "")) for name, entry in entries.items()}
            offsets = {name: _offsets(entry["data_offsets"]) for name, entry in entries.items()}
            last = max((end for _, end in offsets.values()), default=0)
    except OSError as error:
        raise VelaturaError("cannot read {path}: {strerror}", path=path, strerror=error.strerror) from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise VelaturaError("{name} is not a .safetensors file: its header is invalid", name=path.name) from error
    if size != 8 + length + last:
        raise VelaturaError(TRUNCATED.format(name=path.name, size=size, length=8 + length + last))
    header = Header(shapes, metadata, formats)
    check_shapes(path.name, shapes, 8 * size // min(BITS.values()))
    _check_offsets(path.name, header, offsets)
    return header


def pickle_error(name: str) -> VelaturaError:
    """The error for a pickled checkpoint."""
    return VelaturaError(
        "{name} is a pickle, which can run code when opened, so it is refused: convert it to "
        ".safetensors in a tool you trust (A1111's Checkpoint Merger with only model A and format "
        "safetensors), and use that",
        name=name,
    )


def _refuse_header(path: Path, length: int, start: bytes) -> NoReturn:
    """Raise VelaturaError for a header that is too long, or a file without one."""
    if start != b"{":
        raise VelaturaError("{name} is not a .safetensors file; use one that is", name=path.name)
    raise VelaturaError(
        "{name} has a header of {length:.0f} MB, and the limit is {largest_header} MB; remove the long "
        "texts from its metadata",
        name=path.name,
        length=length / 2**20,
        largest_header=LARGEST_HEADER // 2**20,
    )


def _whole_numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(number) is int for number in value):
        raise TypeError("not a list of whole numbers")
    return tuple(value)


def _offsets(value: Any) -> tuple[int, int]:
    """The first byte of a tensor and the first after it."""
    start, end = _whole_numbers(value)
    return start, end


def check_shapes(name: str, shapes: Mapping[str, tuple[int, ...]], most: int) -> None:
    """Raise VelaturaError if a tensor of the file `name` has more than `most` numbers, or than torch can count."""
    for key, shape in shapes.items():
        counted = math.prod(max(1, side) for side in shape)
        if min(shape, default=0) < 0 or math.prod(shape) > most or counted > MOST_COUNTED:
            raise VelaturaError(
                "{name} is damaged: {key} would be larger than the file; download it again", name=name, key=key
            )


def _check_offsets(name: str, header: Header, offsets: Mapping[str, tuple[int, int]]) -> None:
    """Raise VelaturaError if a tensor's bytes do not match its shape, or do not follow those before.

    The safetensors library checks this when it reads weights; here it precedes any use of a shape.
    """
    last = 0
    for key, (start, end) in sorted(offsets.items(), key=lambda item: item[1]):
        numbers, bits = math.prod(header.shapes[key]), BITS.get(header.formats[key])
        if start != last or end < start or (bits is not None and numbers * bits != 8 * (end - start)):
            raise VelaturaError(
                "{name} is damaged: its header gives {key} bytes that do not fit its shape or the other tensors; copy "
                "or download it again",
                name=name,
                key=key,
            )
        last = end


def _text_metadata(value: Any) -> dict[str, str]:
    """The `__metadata__` of a header as texts, empty if missing; TypeError if it is not an object."""
    if not isinstance(value, dict | None):
        raise TypeError("metadata that is not an object")
    return {str(key): str(entry) for key, entry in (value or {}).items()}
