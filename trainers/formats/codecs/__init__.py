"""Codecs of style files: each module here reads and writes the tensors of a layer's change in one format.

`trainers.formats.layout` has the spellings of their names, `trainers.formats.programs` who reads which.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor

from trainers.adapters.updates import Affine, Dense, Hadamard, InputRotation, InputScale, Kronecker, LowRank, Rotation
from trainers.adapters.updates.tensors import to_cpu_fp32
from trainers.adapters.updates.update import Update
from trainers.formats.codecs import dora, full, glora, ia3, loha, lokr, lora, oft
from trainers.formats.layout import GLORA, LayoutError, method_of, sizes_of
from trainers.messages import Message

MISFIT = Message("has tensors that do not fit together or do not fit the layer: {sizes}")
CODECS = {"lora": lora, "loha": loha, "lokr": lokr, "full": full, "oft": oft, "ia3": ia3}
"""The codecs of changes that do not depend on the layer's weight, by method."""


def codec_of(update: Update) -> str | None:
    """The codec of a change; None if no format has it without the base's weight, so that files hold its full ΔW."""
    match update:
        case LowRank():
            return "lora"
        case Hadamard():
            return "loha"
        case Kronecker():
            return "lokr"
        case Affine(shape=shape) if len(shape) == 1 or shape[0] % 2 == 1:  # a norm, or no pairs of channels for BOFT
            return None
        case Dense() | InputScale() | InputRotation() | Affine(gain=None):
            return "full"
        case Rotation() | Affine():
            return "oft"
    return None


def portable(update: Update) -> Update:
    """The same change, detached, on the CPU, in fp32 and in a form that every reader of its format supports."""
    match update:
        case LowRank():  # its gate is multiplied into `up`
            update = update.low_rank()
        case Hadamard():
            update = Hadamard(update.left.low_rank(), update.right.low_rank())
        case Kronecker(right=LowRank() as right):
            right = right.low_rank().map(to_cpu_fp32)
            update = replace(update, right=right if lokr.keeps_product(update) else right.dense())
        case InputScale() | InputRotation():
            update = Dense(update.dense())
    return update.map(to_cpu_fp32)


def file_tensors(update: Update, alpha: float) -> dict[str, Tensor]:
    """The tensors of a change by suffix, plain LoRA with the file's constant `alpha`; TypeError without a codec."""
    codec = codec_of(update)
    if codec is None:
        raise TypeError(f"no file format has a {type(update).__name__}; write its full change")
    tensors: dict[str, Tensor] = CODECS[codec].write(update, alpha)
    return tensors


def build_update(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None = None) -> Update:
    """The change of one layer from its tensors by suffix, in fp32, for a layer whose weight has this shape.

    By default the shape is inferred, which for LoHA and a low-rank LoKr on a convolution only gives `(out, in·kh·kw)`.
    DoRA's magnitudes are ignored. Raises LayoutError, also for changes that depend on the base's weight (`update_on`).
    """
    method = method_of(tensors)
    if method is None:
        found = ", ".join(sorted(tensors))
        raise LayoutError("has {found}, which is not a LoRA, LoHA, LoKr, OFT, IA³ or full change", found=found)
    if method not in CODECS:
        raise LayoutError("changes its layer by the layer's own weight, so it depends on the base model")
    with _fitting(tensors, shape):
        return _checked(CODECS[method].read({name: tensor.float() for name, tensor in tensors.items()}, shape))


@contextmanager
def _fitting(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Iterator[None]:
    """Raise LayoutError for every error of reading tensors, since untrusted ones may have any shape."""
    try:
        yield
    except LayoutError:
        raise
    except KeyError as error:
        raise LayoutError("lacks {name}", name=error.args[0]) from error
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        sizes = sizes_of(tensors)
        if shape is None:
            raise LayoutError(MISFIT.format(sizes=sizes)) from error
        raise LayoutError(
            "has tensors that do not fit together or do not fit the layer of shape {shape}: {sizes}",
            shape=shape,
            sizes=sizes,
        ) from error


def _checked(update: Update) -> Update:
    """Check an update and return it: gain and shift have one number per output, and norms have no matrix."""
    shape = update.shape
    if not math.prod(shape):
        raise ValueError("a layer without values")
    tensors = update.tensors()
    if any(tensors[name].shape != shape[:1] for name in ("gain", "shift") if name in tensors):
        raise ValueError("a scale or a shift of another layer")
    if len(shape) == 1 and not update.fits_norms:
        raise ValueError("a norm has no matrix")
    return update


def needs_base(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a layer's change depends on its weight; True for IA³ of unknown direction in an outline."""
    on_input = tensors.get("on_input")
    if on_input is not None and (on_input.is_meta or bool(on_input.any())):
        return True
    return bool({*dora.MAGNITUDES, *GLORA, "ia3_l", "oft_R.weight"} & set(tensors))


def update_on(tensors: Mapping[str, Tensor], W: Tensor, bias: Tensor | None) -> Update:
    """The change of a layer with this weight and bias, in fp32; LayoutError if the tensors do not fit them."""
    with _fitting(tensors, tuple(W.shape)):
        if "oft_R.weight" in tensors:
            return oft.read_peft(tensors, W)
        if "ia3_l" in tensors:
            return ia3.read_peft(tensors, W, bias)
        if "a1.weight" in tensors:
            return glora.read(tensors, W)
        if "on_input" in tensors:
            return ia3.scale_inputs(tensors["weight"].float().flatten(), W)
        return dora.read(build_update(tensors, tuple(W.shape)), tensors, W)
