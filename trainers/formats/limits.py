"""Limits on the unfolded size of a style file, checked in its header before any number is read.

A few thousand stored numbers can stand for billions: `a (n, 1) @ b (1, n)` has n². All files are read through
`read_style` or `read_outline`, and both check here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from trainers.errors import VelaturaError

LARGEST_CHANGE = 2**26
"""Numbers in the change of one layer (256 MiB in fp32); the largest weight of SDXL has 29,491,200."""
LARGEST_UNFOLDED = 2**28
"""Numbers in all products that reading a file computes and keeps (1 GiB in fp32)."""
MOST_COUNTED = 2**60
"""Numbers in a tensor, a side of 0 taken for 1: torch counts its bytes in 63 bits even where it has none."""
READ_FORMATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
"""Number formats of weights; integers would need a scale that no style file stores."""
COUNTS = ("alpha", "on_input")
"""Suffixes of tensors that may hold whole numbers or truth values."""

Shape = tuple[int, ...]


def check_shapes(name: str, shapes: Mapping[str, Shape], size: int) -> None:
    """Raise VelaturaError if a tensor has more numbers than the file `name` has bytes, or than can be counted.

    `shapes` are those in its header by key, `size` is the file's in bytes.
    """
    for key, shape in shapes.items():
        counted = math.prod(max(1, side) for side in shape)
        if min(shape, default=0) < 0 or math.prod(shape) > size or counted > MOST_COUNTED:
            raise VelaturaError(f"{name} is damaged: {key} would be larger than the file; download it again")


def check_sizes(name: str, layers: Mapping[str, Mapping[str, Shape]]) -> None:
    """Raise VelaturaError if a layer, or all together, would unfold into more numbers than a base model has.

    `layers` holds the shape of each tensor by the layer's name and the suffix; `name` is the file's.
    """
    total = 0
    for stem, shapes in layers.items():
        for numbers in products(shapes):
            if numbers > LARGEST_CHANGE:
                raise VelaturaError(
                    f"{name} is not a style for any base: its layer {stem} would unfold into {numbers:,} numbers; the "
                    f"limit for a layer is {LARGEST_CHANGE:,}"
                )
        total += sum(kept_products(shapes))
    if total > LARGEST_UNFOLDED:
        raise VelaturaError(f"{name} would unfold into {total:,} numbers in memory; the limit is {LARGEST_UNFOLDED:,}")


def check_formats(name: str, formats: Mapping[str, str], suffixes: Mapping[str, str]) -> None:
    """Raise VelaturaError if a weight is stored in a number format that means nothing without a scale.

    `formats` are safetensors' names by key, `suffixes` what a key's tensor is called in its layer, where it has one.
    """
    for key, written in formats.items():
        if written not in READ_FORMATS and suffixes.get(key) not in COUNTS:
            raise VelaturaError(
                f"{name} stores {key} as {written}, but weights must be floating-point numbers; save the style as "
                "fp16, bf16 or fp32 in its original tool"
            )


def products(shapes: Mapping[str, Shape]) -> Iterator[int]:
    """Numbers in each product that a layer's tensors stand for: the change itself and what is multiplied on the way."""
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
    for rotated in ("oft_blocks", "oft_R.weight"):  # the skew blocks and their transposes
        if rotated in shapes:
            yield math.prod(shapes[rotated]) * 2


def kept_products(shapes: Mapping[str, Shape]) -> Iterator[int]:
    """Numbers in each product that is computed when a layer is read and kept as long as the style is in use."""
    for core, down in (
        ("lora_mid.weight", "lora_down.weight"), ("hada_t1", "hada_w1_b"), ("hada_t2", "hada_w2_b"),
        ("lokr_t2", "lokr_w2_b"),
    ):  # fmt: skip
        if core in shapes and down in shapes:
            yield _side(shapes[core], 0) * _columns(shapes[down]) * _kernel(shapes[core])
    if "lokr_w1" not in shapes:
        left = _outer(shapes, "lokr_w1_a", "lokr_w1_b")
        if left:
            yield math.prod(left)


def _lokr_right(shapes: Mapping[str, Shape]) -> Shape:
    """The shape of LoKr's second factor where it is a product; `()` where it has none."""
    core, up = shapes.get("lokr_t2", ()), shapes.get("lokr_w2_a", ())
    if not core:
        return _outer(shapes, "lokr_w2_a", "lokr_w2_b")
    return (_side(up, 1), _columns(shapes.get("lokr_w2_b", ())), _kernel(core))


def _outer(shapes: Mapping[str, Shape], up: str, down: str) -> Shape:
    return (_side(shapes[up], 0), _columns(shapes[down])) if up in shapes and down in shapes else ()


def _side(shape: Shape, axis: int) -> int:
    return shape[axis] if axis < len(shape) else 1


def _columns(shape: Shape) -> int:
    """Columns of a factor that is read as a matrix."""
    return math.prod(shape[1:])


def _kernel(core: Shape) -> int:
    """Positions of a Tucker core's kernel, `(r, r, kh, kw)`; 1 if there is no core."""
    return math.prod(core[2:])
