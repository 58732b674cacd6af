"""The tensors of one layer's change: the suffixes in kohya, LyCORIS, diffusers and PEFT files.

The scale is alpha / rank in every format, and 1 if there is no alpha. Sources: the LyCORIS library's modules and
diffusers' loaders; the formulas are those of the methods' papers (`trainers.adapters`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from trainers.adapters.methods.initial import tucker
from trainers.adapters.updates import Affine, Dense, Hadamard, Kronecker, LowRank, Rotation, Update
from trainers.messages import Message

# Each pattern matches the end of a key; the rest is the layer's name, which may look like a suffix (`net.lora_A`). The
# last two end in any word, such as `diff`, so the others are tried first.
_SPELLINGS: tuple[tuple[str, str], ...] = (
    (r"\.lora_(?:up|B)(?:\.(?!lora_)\w+)?\.weight", "lora_up.weight"),
    (r"\.lora_(?:down|A)(?:\.(?!lora_)\w+)?\.weight", "lora_down.weight"),
    (r"\.lora(?:_linear_layer)?\.up\.weight", "lora_up.weight"),
    (r"\.lora(?:_linear_layer)?\.down\.weight", "lora_down.weight"),
    (r"\.lora_mid\.weight", "lora_mid.weight"),
    (r"\.oft_R(?:\.\w+)?\.weight", "oft_R.weight"),
    *((rf"\.{name}\.weight", f"{name}.weight") for name in ("a1", "a2", "b1", "b2")),
    *(
        (rf"\.{suffix}", suffix)
        for suffix in (
            *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
            *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
            *("alpha", "dora_scale", "diff", "diff_b", "w_norm", "b_norm"),
            *("oft_blocks", "rescale", "on_input"),
        )
    ),
    (r"\.lora_magnitude_vector(?:\.\w+)?(?:\.weight)?", "lora_magnitude_vector"),
    (r"\.ia3_l(?:\.\w+)?", "ia3_l"),
)
_ENDINGS = tuple((re.compile(pattern + "$"), suffix) for pattern, suffix in _SPELLINGS)
_OLD_ATTENTION = re.compile(r"\.(?:processor\.)?to_(q|k|v|out)_lora\.(up|down)\.weight$")

GLORA = ("a1.weight", "a2.weight", "b1.weight", "b2.weight")
"""The four matrices of GLoRA; a change needs all of them."""

METHOD_OF_SUFFIX = {
    "oft_blocks": "oft",  # before `diff_b`, which a rotation may have too
    "oft_R.weight": "oft",
    "lora_up.weight": "lora",
    "hada_w1_a": "loha",
    "lokr_w1": "lokr",
    "lokr_w1_a": "lokr",
    "diff": "full",
    "w_norm": "full",
    "b_norm": "full",
    "diff_b": "full",
    "on_input": "ia3",
    "ia3_l": "ia3",
    "a1.weight": "glora",
}
"""The method of a layer's change by a characteristic tensor; the first match counts."""

ROWS = ("lora_up.weight", "hada_w1_a", "diff_b", "diff")
"""Tensors with one row per output of the layer."""
COLUMNS = ("lora_down.weight", "hada_w1_b", "diff")
"""Tensors with one column per input of the layer."""
FACTORS = (("lokr_w1", "lokr_w1_a", "lokr_w1_b"), ("lokr_w2", "lokr_w2_a", "lokr_w2_b"))
"""Factors, each one or two tensors; their rows multiply to the layer's outputs, their columns to its inputs."""


class LayoutError(ValueError):
    """A layer's tensors do not form a change of it; the sentence follows the layer's name."""

    def __init__(self, sentence: str, /, **parameters: object) -> None:
        self.message = Message(sentence, **parameters)
        super().__init__(self.message)


def sizes_of(tensors: Mapping[str, Tensor]) -> str:
    """Names and shapes of tensors, for sentences."""
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(tensors.items()))


def outputs_of(tensors: Mapping[str, Tensor]) -> int:
    """Number of outputs of the layer that these tensors change; 0 if unknown."""
    for name in ROWS:
        if name in tensors and tensors[name].dim():
            return len(tensors[name]) if tensors[name].numel() > 1 else 0  # one zero beside a bias is no matrix
    factors = [next((tensors[name] for name in names[:2] if name in tensors), None) for names in FACTORS]
    rows = [len(factor) for factor in factors if factor is not None and factor.dim()]
    return rows[0] * rows[1] if len(rows) == len(FACTORS) else 0


def inputs_of(tensors: Mapping[str, Tensor]) -> int:
    """Number of inputs of the layer that these tensors change; 0 if unknown."""
    if set(GLORA) <= set(tensors):  # A (in, in) is the product of the first two, in either order
        return max(map(_columns, (tensors["a1.weight"], tensors["a2.weight"])))
    matrix = next((tensors[name] for name in COLUMNS if name in tensors), None)
    if matrix is not None:
        return _columns(matrix)
    return math.prod(next((_columns(tensors[name]) for name in names[::2] if name in tensors), 0) for names in FACTORS)


def _columns(tensor: Tensor) -> int:
    """Columns of a matrix; 0 for other tensors, which an untrusted file may hold."""
    return int(tensor.shape[1]) if tensor.dim() > 1 else 0


def split_key(key: str) -> tuple[str, str] | None:
    """Split a key into the layer's name and the suffix in LyCORIS' spelling; None if the suffix is unknown."""
    old = _OLD_ATTENTION.search(key)
    if old is not None:
        which, side = old.groups()
        names = {"out": "to_out.0"} if key.startswith("unet.") else {w: f"{w}_proj" for w in ("q", "k", "v", "out")}
        return f"{key[: old.start()]}.{names.get(which, f'to_{which}')}", f"lora_{side}.weight"
    for ending, suffix in _ENDINGS:
        match = ending.search(key)
        if match is not None and match.start() > 0:
            return key[: match.start()], suffix
    return None


def by_layer(tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], tuple[str, ...]]:
    """Tensors by layer name and suffix, and the unknown keys."""
    layers: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for key, tensor in tensors.items():
        stem = key.removesuffix(".weight")
        is_ia3 = stem != key and f"{stem}.on_input" in tensors  # its tensor is named just `weight`
        split = (stem, "weight") if is_ia3 else split_key(key)
        if split is None:
            unknown.append(key)
        else:
            layers.setdefault(split[0], {})[split[1]] = tensor
    for stem, layer in tuple(layers.items()):
        if set(GLORA) & set(layer) and not set(GLORA) <= set(layer):
            unknown += [f"{stem}.{suffix}" for suffix in GLORA if layer.pop(suffix, None) is not None]
            if not layer:
                del layers[stem]
        if "diff_b" in layer and method_of(layer) in ("lora", "loha", "lokr"):
            del layer["diff_b"]
            unknown.append(f"{stem}.diff_b")
    return layers, tuple(unknown)


def method_of(suffixes: Iterable[str]) -> str | None:
    """`lora`, `loha`, `lokr`, `oft`, `ia3`, `glora` or `full` (a dense ΔW) for one layer's suffixes; otherwise None."""
    present = set(suffixes)
    return next((method for suffix, method in METHOD_OF_SUFFIX.items() if suffix in present), None)


def build_update(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None = None) -> Update:
    """The change of one layer from its tensors by suffix, in fp32.

    `shape` is the layer's weight shape. By default it is inferred from the tensors, which for LoHA and a low-rank LoKr
    on a convolution only give `(out, in·kh·kw)`. Changes that depend on the base's weight are in
    `trainers.formats.on_base`; DoRA's magnitudes are ignored here. Raises LayoutError.
    """
    readers: dict[str, Callable[[Mapping[str, Tensor], tuple[int, ...] | None], Update]]
    readers = {"lora": _lora, "loha": _loha, "lokr": _lokr, "full": _diff, "oft": _oft, "ia3": _ia3}
    method = method_of(tensors)
    if method is None:
        found = ", ".join(sorted(tensors))
        raise LayoutError("has {found}, which is not a LoRA, LoHA, LoKr, OFT, IA³ or full change", found=found)
    if method not in readers:
        raise LayoutError("changes its layer by the layer's own weight, so it depends on the base model")
    try:
        return _checked(readers[method]({name: tensor.float() for name, tensor in tensors.items()}, shape))
    except LayoutError:
        raise
    except KeyError as error:
        raise LayoutError("lacks {name}", name=error.args[0]) from error
    except (RuntimeError, ValueError, IndexError, TypeError) as error:  # untrusted tensors may have any shape
        sizes = sizes_of(tensors)
        if shape is None:
            raise LayoutError(
                "has tensors that do not fit together or do not fit the layer: {sizes}", sizes=sizes
            ) from error
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


def scale_of(tensors: Mapping[str, Tensor], rank: int) -> float:
    """The scale of a product of this rank: `scale` from PEFT's settings if present, otherwise alpha / rank."""
    if rank == 0:
        raise LayoutError("has rank 0, so it has no effect and alpha / rank is undefined")
    if "scale" in tensors:
        return tensors["scale"].item()
    return tensors["alpha"].item() / rank if "alpha" in tensors else 1.0


def _lora(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> LowRank:
    up, down = tensors["lora_up.weight"].flatten(1), tensors["lora_down.weight"]  # (out, r), (r, in[, kh, kw])
    rank = len(down)
    inferred = (len(up), *down.shape[1:])
    if "lora_mid.weight" in tensors:  # Tucker: mid (r, r, kh, kw), down (r, in, 1, 1)
        mid = tensors["lora_mid.weight"]
        inferred = (len(up), down.shape[1], *mid.shape[2:])
        down = torch.einsum("mnkl,ni->mikl", mid, down.flatten(1))
    return LowRank(up * scale_of(tensors, rank), *_fitted(up, down.flatten(1), shape or inferred))


def _fitted(up: Tensor, down: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    if up.dim() != 2 or down.dim() != 2:
        raise ValueError("factors that are not matrices")  # torch would multiply batches of them
    if up.shape[1] != len(down):
        raise ValueError("ranks differ")
    if (len(up), down.shape[1]) != (shape[0], math.prod(shape[1:])):
        raise ValueError("another layer's shape")
    return down, shape


def _loha(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Hadamard:
    sides = []
    for side in ("1", "2"):
        up, down = tensors[f"hada_w{side}_a"], tensors[f"hada_w{side}_b"]
        core = tensors.get(f"hada_t{side}")
        if core is not None:
            shape = shape or (up.shape[1], down.shape[1], *core.shape[2:])
            up, down = up.mT, tucker(core, down)
        shape = shape or (len(up), down.shape[1])  # for both sides: torch would broadcast them
        sides.append(LowRank(up, *_fitted(up, down, shape)))
    return Hadamard(sides[0].scaled(scale_of(tensors, sides[0].rank)), sides[1])


def _lokr(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Kronecker:
    # alpha refers to the rank of the second factor if that is a inferred; if both are full, alpha is ignored.
    ranks = [len(tensors[name]) for name in ("lokr_w2_b", "lokr_w1_b") if name in tensors]
    scale = scale_of(tensors, ranks[0]) if ranks else tensors["scale"].item() if "scale" in tensors else 1.0
    if "lokr_w1" in tensors:
        left = tensors["lokr_w1"].flatten(1) * scale
    else:
        left = tensors["lokr_w1_a"].flatten(1) * scale @ tensors["lokr_w1_b"].flatten(1)
    if not left.numel():
        raise ValueError("a factor without values")
    right: Tensor | LowRank
    if "lokr_w2" in tensors:
        right = tensors["lokr_w2"]
        inferred = (len(left) * len(right), left.shape[1] * right.shape[1], *right.shape[2:])
        shape = shape or inferred
        if inferred != shape and (*inferred[:2], 1, 1) != shape:  # a 1×1 kernel may be stored as a matrix
            raise ValueError("another layer's shape")
        right = right.reshape(*right.shape[:2], *shape[2:])
    else:
        up, down = tensors["lokr_w2_a"], tensors["lokr_w2_b"]
        if "lokr_t2" in tensors:
            shape = shape or (len(left) * up.shape[1], left.shape[1] * down.shape[1], *tensors["lokr_t2"].shape[2:])
            up, down = up.mT, tucker(tensors["lokr_t2"], down)
        shape = shape or (len(left) * len(up), left.shape[1] * down.shape[1])
        inner = (shape[0] // len(left), shape[1] // left.shape[1], *shape[2:])
        if (inner[0] * len(left), inner[1] * left.shape[1]) != shape[:2]:
            raise ValueError("another layer's shape")
        right = LowRank(up, *_fitted(up, down, inner))
    return Kronecker(left, right, shape)


def _diff(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Update:
    weight = tensors.get("diff", tensors.get("w_norm"))
    shift = tensors.get("diff_b", tensors.get("b_norm"))
    # Files that change only biases hold a single zero for the matrix.
    is_placeholder = weight is not None and weight.numel() == 1 and not weight.any()
    if shift is not None and (weight is None or is_placeholder):
        return Affine(None, shift.flatten(), shape or (shift.numel(),))
    if weight is None:
        raise KeyError("diff")
    if shape is None:
        return Dense(weight, shift)
    if is_placeholder:
        return Affine(None, torch.zeros(shape[0]), shape)
    return Dense(weight.reshape(shape), shift)


def _oft(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Update:
    blocks = tensors["oft_blocks"]  # OFT (out/b, b, b), BOFT (m, out/b, b, b)
    out, b = blocks.shape[-3] * blocks.shape[-1], blocks.shape[-1]
    shape = shape or (out, 1)
    if out != shape[0] or blocks.dim() not in (3, 4) or not blocks.numel() or blocks.shape[-2] != b:
        raise ValueError("another layer's shape")
    if blocks.dim() == 4 and (b % 2 or out % (b * 2 ** (len(blocks) - 1))):  # the last factor's channels
        raise ValueError("a butterfly that does not fit the number of channels")
    shift = tensors.get("diff_b")
    gain = tensors["rescale"].flatten() - 1 if "rescale" in tensors else None
    if gain is not None and not blocks.any():
        return Affine(gain, shift, shape)
    Q = blocks - blocks.mT
    limit = tensors["alpha"].item() * out if "alpha" in tensors else 0.0
    if limit > 0:  # a constraint on the norm of all blocks together
        Q = Q * min(1.0, limit / (Q.norm().item() + 1e-8))
    if Q.dim() == 4:
        return Rotation(Q, shape, True, gain, shift)
    return Rotation(Q.mT[None], shape, False, gain, shift)  # files hold a single rotation's inverse


def _ia3(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> Affine:
    if tensors["on_input"].any():
        raise LayoutError("scales its inputs (IA³), which depends on the base model")
    gain = tensors["weight"].flatten()
    return Affine(gain, None, shape or (len(gain), 1))
