"""Reads GGUF files, whose tensors are mostly packed in blocks.

Layout (little-endian): `GGUF`, version, number of tensors, number of metadata entries; the metadata; for each tensor
its name, shape with the fastest dimension first, kind and offset; padding; the tensors. A block of Q8_0 is a scale in
fp16 and 32 integers of 8 bits. Other packed kinds need the package `gguf`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.models.files.mapping import mapped

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TRUNCATED = Message(
    "{name} is truncated or damaged ({size} bytes, but its header says {length}); copy or download it again"
)
MAGIC = b"GGUF"
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Number formats of metadata by their kind, as `struct` names them."""
MOST = 2**20
"""Maximum number of metadata entries, items of a list, tensors, and bytes of a text."""
SHAPE = "comfy.gguf.orig_shape."
"""Metadata with the shape of a tensor that ComfyUI's converter reshaped to fewer dimensions."""
ALIGNMENT = "general.alignment"
ARCHITECTURE = "general.architecture"
T5_NAMES: Mapping[str, str] = {
    "enc.output_norm": "encoder.final_layer_norm",
    "enc.blk.": "encoder.block.",
    "token_embd": "shared",
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "attn_norm": "layer.0.layer_norm",
    "ffn_gate": "layer.1.DenseReluDense.wi_0",
    "ffn_up": "layer.1.DenseReluDense.wi_1",
    "ffn_down": "layer.1.DenseReluDense.wo",
    "ffn_norm": "layer.1.layer_norm",
}
"""Parts of T5's tensor names in llama.cpp, and in transformers."""


@dataclass(frozen=True)
class Kind:
    """A storage format with `numbers` numbers in a block of `bytes` bytes."""

    name: str
    numbers: int
    bytes: int


KINDS: Mapping[int, Kind] = {
    0: Kind("F32", 1, 4),
    1: Kind("F16", 1, 2),
    30: Kind("BF16", 1, 2),
    8: Kind("Q8_0", 32, 34),
    2: Kind("Q4_0", 32, 18),
    3: Kind("Q4_1", 32, 20),
    6: Kind("Q5_0", 32, 22),
    7: Kind("Q5_1", 32, 24),
    10: Kind("Q2_K", 256, 84),
    11: Kind("Q3_K", 256, 110),
    12: Kind("Q4_K", 256, 144),
    13: Kind("Q5_K", 256, 176),
    14: Kind("Q6_K", 256, 210),
    20: Kind("IQ4_NL", 32, 18),
    23: Kind("IQ4_XS", 256, 136),
}
"""Kinds of tensors by number."""
STORED: Mapping[str, str] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Kinds that are not packed, with their torch dtypes."""
OWN = (*STORED, "Q8_0")
"""Kinds that do not need the package."""
PIECE = 2**20
"""Numbers to unpack at once, a multiple of every block."""


@dataclass(frozen=True)
class Packed:
    """A tensor in a GGUF file, with its shape in torch's order."""

    path: Path
    shape: tuple[int, ...]
    kind: int
    offset: int
    """Position of its first byte in the file."""

    def read(self, rows: tuple[int, int] | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """Read the tensor or a range of its rows, in `dtype`; by default as stored, or in fp32 if packed.

        ValueError if the rows split a block; VelaturaError if its kind needs a package that is not installed.
        """
        import torch

        kind, start, count = KINDS[self.kind], 0, self.shape[0] if self.shape else 1
        if rows is not None:
            start, count = rows[0], rows[1] - rows[0]
        inner = prod(self.shape[1:])
        if start * inner % kind.numbers or count * inner % kind.numbers:
            raise ValueError(f"its rows are not whole blocks of {kind.numbers} numbers")
        tensor = mapped([count * inner], dtype or getattr(torch, STORED.get(kind.name, "float32")))
        with self.path.open("rb") as file:
            file.seek(self.offset + start * inner // kind.numbers * kind.bytes)
            for piece in tensor.split(PIECE):  # avoids a complete copy in fp32
                content = bytearray(file.read(len(piece) // kind.numbers * kind.bytes))
                piece.copy_(_unpacked(content, self.kind, self.path))
        return tensor.view(count if self.shape else 1, *self.shape[1:])


def is_gguf(path: Path) -> bool:
    """Whether a file begins like a GGUF file; OSError if it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_gguf(path: Path) -> tuple[dict[str, Packed], dict[str, str]]:
    """The tensors and text metadata of a file by name, T5's tensors by transformers' names.

    VelaturaError if it is damaged or has tensors of unknown kinds.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            tensors, metadata = _read(file, path)
    except (struct.error, ValueError, OverflowError, MemoryError) as error:
        raise VelaturaError("{name} is not a GGUF file: its header is invalid", name=path.name) from error
    if metadata.get(ARCHITECTURE) in ("t5", "t5encoder"):
        tensors = {_t5_name(name): tensor for name, tensor in tensors.items()}
    for tensor in tensors.values():
        kind = KINDS[tensor.kind]
        end = tensor.offset + prod(tensor.shape) // kind.numbers * kind.bytes
        if end > size:
            raise VelaturaError(TRUNCATED.format(name=path.name, size=size, length=end))
    return tensors, metadata


def _read(file: BinaryIO, path: Path) -> tuple[dict[str, Packed], dict[str, str]]:
    magic, version, count, entries = struct.unpack("<4sIQQ", file.read(24))
    if magic != MAGIC or version not in (2, 3) or max(count, entries) > MOST:
        raise ValueError(version)
    metadata = dict(_entry(file) for _ in range(entries))
    entries_of_tensors = [_tensor(file, path) for _ in range(count)]
    (alignment,) = _whole_numbers([metadata.get(ALIGNMENT, 32)])
    data = -(-file.tell() // alignment) * alignment
    tensors = {}
    for name, shape, kind, offset in entries_of_tensors:
        stated = metadata.get(SHAPE + name)
        original = _whole_numbers(stated) if stated else shape
        if prod(original) != prod(shape) or prod(shape) % KINDS[kind].numbers:
            raise ValueError(shape)
        tensors[name] = Packed(path, original, kind, data + offset)
    return tensors, {key: value for key, value in metadata.items() if isinstance(value, str)}


def _whole_numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(number) is int and 0 < number <= MOST for number in value):
        raise ValueError("not a list of whole numbers above 0")
    return tuple(value)


def _t5_name(name: str) -> str:
    for theirs, ours in T5_NAMES.items():
        name = name.replace(theirs, ours)
    return name


def _tensor(file: BinaryIO, path: Path) -> tuple[str, tuple[int, ...], int, int]:
    name = _text(file)
    (dimensions,) = struct.unpack("<I", file.read(4))
    if dimensions > 8:
        raise ValueError(dimensions)
    *sides, kind, offset = struct.unpack(f"<{dimensions}QIQ", file.read(8 * dimensions + 12))
    if kind not in KINDS:
        raise VelaturaError(
            "{name} holds tensors of a kind that Velatura does not read (number {kind}); use the base in Q8_0, bf16 or "
            "fp8",
            name=path.name,
            kind=kind,
        )
    return name, tuple(reversed(sides)), kind, offset


def _entry(file: BinaryIO) -> tuple[str, Any]:
    key = _text(file)
    (kind,) = struct.unpack("<I", file.read(4))
    return key, _value(file, kind)


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _text(file)
    if kind == ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        if count > MOST or inner == ARRAY:
            raise ValueError(count)
        return [_value(file, inner) for _ in range(count)]
    form = f"<{SCALARS[kind]}" if kind in SCALARS else ""
    (value,) = struct.unpack(form, file.read(struct.calcsize(form)))
    return value


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    content = file.read(min(length, MOST))
    if len(content) != length:
        raise ValueError(length)
    return content.decode("utf-8")


def _unpacked(content: bytearray, kind: int, path: Path) -> Tensor:
    """The numbers of complete blocks, in one dimension."""
    import torch

    if (name := KINDS[kind].name) not in OWN:
        return _by_package(content, kind, path)
    raw = torch.frombuffer(content, dtype=torch.uint8)
    if name == "Q8_0":
        blocks = raw.view(-1, 34)
        scale = blocks[:, :2].contiguous().view(torch.float16).float()
        return (scale * blocks[:, 2:].view(torch.int8)).flatten()
    return raw.view(getattr(torch, STORED[name]))


def _by_package(content: bytearray, kind: int, path: Path) -> Tensor:
    try:
        import gguf
    except ImportError as error:
        raise VelaturaError(
            "{name} is packed as {kind}, which needs a package: install it with `pip install gguf`, or use "
            "the base in Q8_0, bf16 or fp8",
            name=path.name,
            kind=KINDS[kind].name,
        ) from error
    import numpy
    import torch

    blocks = numpy.frombuffer(content, dtype=numpy.uint8)
    return torch.from_numpy(gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(kind)))
