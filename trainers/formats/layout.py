"""The tensors of one layer's change: the suffixes in kohya, LyCORIS, diffusers and PEFT files.

The scale is alpha / rank in every format, and 1 if there is no alpha. `trainers.formats.codecs` reads and writes the
tensors. Sources: the LyCORIS library's modules and diffusers' loaders; the formulas are those of the methods' papers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from torch import Tensor

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


def scale_of(tensors: Mapping[str, Tensor], rank: int) -> float:
    """The scale of a product of this rank: `scale` from PEFT's settings if present, otherwise alpha / rank."""
    if rank == 0:
        raise LayoutError("has rank 0, so it has no effect and alpha / rank is undefined")
    if "scale" in tensors:
        return tensors["scale"].item()
    return tensors["alpha"].item() / rank if "alpha" in tensors else 1.0
