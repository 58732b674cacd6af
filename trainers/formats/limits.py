"""Limits on the unfolded size of a style file, checked in its header before any number is read.

A few thousand stored numbers can unfold to billions: `a (n, 1) @ b (1, n)` has n². `read_style` and `read_outline`,
through which all files are read, check these limits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from trainers.errors import VelaturaError
from trainers.models.files.header import Header, read_header

LARGEST_CHANGE = 2**26
"""Numbers in the change of one layer (256 MiB in fp32); the largest weight of SDXL has 29,491,200."""
LARGEST_UNFOLDED = 2**28
"""Numbers in all products computed and kept when reading a file (1 GiB in fp32)."""
MOST_TENSORS = 20_000
"""Tensors in a style file; seven for each of the 1,052 layers of SDXL, as LoHA with a core has, are 7,364."""
READ_FORMATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
"""Number formats of weights; integers would need a scale that no style file stores."""
COUNTS = ("alpha", "on_input")
"""Suffixes of tensors that may be integer or boolean."""
PICKLE_ENDINGS = {".pt", ".pth", ".ckpt", ".bin", ".pkl"}

Shape = tuple[int, ...]


def check_layer(name: str, stem: str, shapes: Mapping[str, Shape]) -> None:
    """Raise VelaturaError if a layer would unfold into more numbers than any trained base's layer has.

    `shapes` holds its tensor shapes by suffix; `name` is the file's.
    """
    numbers = max(products(shapes), default=0)
    if numbers > LARGEST_CHANGE:
        raise VelaturaError(
            "{name} is not a style for a base that Velatura trains: its layer {stem} would unfold into {numbers:,} "
            "numbers; the limit for a layer is {largest_change:,}",
            name=name,
            stem=stem,
            numbers=numbers,
            largest_change=LARGEST_CHANGE,
        )


def check_total(name: str, layers: Iterable[Mapping[str, Shape]]) -> None:
    """Raise VelaturaError if layers with these shapes by suffix would unfold into too many numbers together."""
    total = sum(sum(kept_products(shapes)) for shapes in layers)
    if total > LARGEST_UNFOLDED:
        raise VelaturaError(
            "{name} would unfold into {total:,} numbers in memory; the limit is {largest_unfolded:,}",
            name=name,
            total=total,
            largest_unfolded=LARGEST_UNFOLDED,
        )


def check_formats(name: str, formats: Mapping[str, str], suffixes: Mapping[str, str]) -> None:
    """Raise VelaturaError if a weight has a number format that would need a scale.

    `formats` holds safetensors' format names by key, `suffixes` the layer suffixes by key, if any.
    """
    for key, written in formats.items():
        if written not in READ_FORMATS and suffixes.get(key) not in COUNTS:
            raise VelaturaError(
                "{name} stores {key} as {written}, but weights must be floating-point numbers; save the style "
                "as fp16, bf16 or fp32 in its original tool",
                name=name,
                key=key,
                written=written,
            )


def products(shapes: Mapping[str, Shape]) -> Iterator[int]:
    """Numbers in each product of a layer's tensors: the change itself and intermediate products."""
    yield from kept_products(shapes)
    for up, down in (("lora_up.weight", "lora_down.weight"), ("hada_w1_a", "hada_w1_b"), ("hada_w2_a", "hada_w2_b")):
        if up in shapes and down in shapes:
            core = {"hada_w1_a": "hada_t1", "hada_w2_a": "hada_t2"}.get(up, "lora_mid.weight")
            rows = _side(shapes[up], 1 if core in shapes and core != "lora_mid.weight" else 0)
            yield rows * _columns(shapes[down]) * _kernel(shapes.get(core, ()))
    left = shapes.get("lokr_w1") or _outer(shapes, "lokr_w1_a", "lokr_w1_b")
    right = shapes.get("lokr_w2") or _lokr_right(shapes)
    if left and right:
        yield math.prod(left) * math.prod(right)
    for rotated in ("oft_blocks", "oft_R.weight"):  # skew blocks and their transposes
        if rotated in shapes:
            yield math.prod(shapes[rotated]) * 2


def kept_products(shapes: Mapping[str, Shape]) -> Iterator[int]:
    """Numbers in each product that is computed when a layer is read and kept while the style is in use."""
    for core, down in (
        ("lora_mid.weight", "lora_down.weight"), ("hada_t1", "hada_w1_b"), ("hada_t2", "hada_w2_b"),
        ("lokr_t2", "lokr_w2_b"),
    ):  # fmt: skip
        if core in shapes and down in shapes:
            yield _side(shapes[core], 0) * _columns(shapes[down]) * _kernel(shapes[core])
    if "lokr_w1" not in shapes and (left := _outer(shapes, "lokr_w1_a", "lokr_w1_b")):
        yield math.prod(left)


def _lokr_right(shapes: Mapping[str, Shape]) -> Shape:
    """Shape of LoKr's second factor if it is a product; otherwise `()`."""
    core, up = shapes.get("lokr_t2", ()), shapes.get("lokr_w2_a", ())
    if not core:
        return _outer(shapes, "lokr_w2_a", "lokr_w2_b")
    return (_side(up, 1), _columns(shapes.get("lokr_w2_b", ())), _kernel(core))


def _outer(shapes: Mapping[str, Shape], up: str, down: str) -> Shape:
    return (_side(shapes[up], 0), _columns(shapes[down])) if up in shapes and down in shapes else ()


def _side(shape: Shape, axis: int) -> int:
    return shape[axis] if axis < len(shape) else 1


def _columns(shape: Shape) -> int:
    """Columns of a factor read as a matrix."""
    return math.prod(shape[1:])


def _kernel(core: Shape) -> int:
    """Positions of a Tucker core's kernel, `(r, r, kh, kw)`; 1 if there is no core."""
    return math.prod(core[2:])


def read_style_header(path: Path) -> Header:
    """The header of a possible style file; VelaturaError if it is missing, a pickle, or not safetensors."""
    _refuse_pickle(path)
    header = read_header(path)
    if len(header.shapes) > MOST_TENSORS:
        raise VelaturaError(
            "{name} holds {tensors:,} tensors, more than any style has; the limit is {most:,}",
            name=path.name,
            tensors=len(header.shapes),
            most=MOST_TENSORS,
        )
    return header


def _refuse_pickle(path: Path) -> None:
    try:
        if path.is_dir():
            raise VelaturaError("{path} is a folder; give a style file that ends in .safetensors", path=path)
        with path.open("rb") as file:
            start = file.read(8)
    except FileNotFoundError as error:
        raise VelaturaError("there is no style file {path}", path=path) from error
    except OSError as error:
        raise VelaturaError("cannot read {path}: {strerror}", path=path, strerror=error.strerror) from error
    pickled = start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
    # A safetensors header may begin with the length byte 0x80, but JSON follows at once.
    if path.suffix.lower() in PICKLE_ENDINGS or (pickled and path.suffix.lower() != ".safetensors"):
        raise VelaturaError(
            "{name} is a pickled file, which can run code when opened; get the style as .safetensors, or "
            "convert it in its original tool",
            name=path.name,
        )
