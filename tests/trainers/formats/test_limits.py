"""Sizes are bounded from the header alone: whatever is let through is small to build, whatever its shapes are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainers.adapters.updates.per_image import stack
from trainers.composition.svd import merge_svd
from trainers.errors import VelaturaError
from trainers.formats.codecs import build_update, file_tensors, portable
from trainers.formats.inspect import describe_style, summarise_header
from trainers.formats.layout import by_layer
from trainers.formats.limits import LARGEST_CHANGE, LARGEST_UNFOLDED, MOST_TENSORS, check_layer, check_total
from trainers.formats.read import Style, read_outline, read_style
from trainers.formats.write.diffusers import exact_low_rank, plain_size
from trainers.models.files.header import MOST_COUNTED, check_shapes

pytestmark = pytest.mark.slow

Shape = tuple[int, ...]
Layer = Mapping[str, Shape]
FORMS: Mapping[str, Mapping[str, str]] = {
    "lora": {"lora_up.weight": "o r", "lora_down.weight": "r i"},
    "locon": {"lora_up.weight": "o r 1 1", "lora_down.weight": "r i k k"},
    "locon tucker": {"lora_up.weight": "o r 1 1", "lora_down.weight": "r i 1 1", "lora_mid.weight": "r r k k"},
    "loha": {"hada_w1_a": "o r", "hada_w1_b": "r i", "hada_w2_a": "o r", "hada_w2_b": "r i"},
    "loha tucker": {
        **{"hada_w1_a": "r o", "hada_w1_b": "r i", "hada_t1": "r r k k"},
        **{"hada_w2_a": "r o", "hada_w2_b": "r i", "hada_t2": "r r k k"},
    },
    "lokr": {"lokr_w1": "f g", "lokr_w2": "o i k k"},
    "lokr thin": {"lokr_w1": "f g", "lokr_w2_a": "o r", "lokr_w2_b": "r i"},
    "lokr both": {"lokr_w1_a": "f r", "lokr_w1_b": "r g", "lokr_w2_a": "o r", "lokr_w2_b": "r i"},
    "lokr left": {"lokr_w1_a": "f r", "lokr_w1_b": "r g", "lokr_w2": "o i"},
    "lokr tucker": {"lokr_w1": "f g", "lokr_w2_a": "r o", "lokr_w2_b": "r i", "lokr_t2": "r r k k"},
    "oft": {"oft_blocks": "f k k", "rescale": "o 1"},
    "boft": {"oft_blocks": "r f k k", "rescale": "o 1", "diff_b": "o"},
    "oft of peft": {"oft_R.weight": "f o"},
    "ia3": {"weight": "o", "on_input": ""},
    "ia3 of peft": {"ia3_l": "o 1"},
    "glora": {"a1.weight": "i r", "a2.weight": "r i", "b1.weight": "o r", "b2.weight": "r i"},
    "glora of kernels": {"a1.weight": "i r", "a2.weight": "r i", "b1.weight": "o r", "b2.weight": "r i k k"},
    "norm": {"w_norm": "o", "b_norm": "o"},
    "full": {"diff": "o i k k", "diff_b": "o"},
}
"""The tensors of every form by their sides: `o` out, `i` in, `r` rank, `k` kernel or block, `f` and `g` small ones."""
EXTRAS: Layer = {"alpha": "", "dora_scale": "o 1", "lora_magnitude_vector": "o", "diff_b": "o"}
OF_BASES = ("o", "o i", "o i 1 1", "o i k k")
SIDES = st.sampled_from((0, 1, 2, 3, 4, 8, 40, 320, 1280, 4_000, 20_000, 40_000, 2**20, 2**28, 2**40))
BASE_SIDES = st.sampled_from((1, 2, 3, 4, 8, 40, 320, 1280))


@st.composite
def layers(draw: st.DrawFn) -> tuple[Layer, Shape | None]:
    """The shapes of a layer's tensors by suffix, true to a form or with something wrong in them, and of a base."""
    sides: dict[str, int] = {}

    def shape_of(names: str) -> Shape:
        return tuple(int(name) if name.isdigit() else sides.setdefault(name, draw(SIDES)) for name in names.split())

    base = draw(st.none() | st.sampled_from(OF_BASES))
    if base is not None:
        sides |= {"o": draw(BASE_SIDES), "i": draw(BASE_SIDES), "k": draw(st.sampled_from((1, 3)))}
    weight = None if base is None else shape_of(base)
    form = {**draw(st.sampled_from(sorted(FORMS)).map(FORMS.get))}
    for suffix in draw(st.just([]) | st.lists(st.sampled_from(sorted(EXTRAS)), max_size=2, unique=True)):
        form[suffix] = EXTRAS[suffix]
    found = {suffix: shape_of(names) for suffix, names in form.items()}
    for suffix in draw(st.just([]) | st.lists(st.sampled_from(sorted(found)), max_size=2)):
        found[suffix] = draw(st.lists(SIDES, max_size=5).map(tuple) | changed(found[suffix]))
    return found, weight


@st.composite
def changed(draw: st.DrawFn, shape: Shape) -> Shape:
    """A shape with a side more, less or another one."""
    place = draw(st.integers(0, len(shape)))
    return (*shape[:place], *draw(st.lists(SIDES, max_size=1)), *shape[place + draw(st.integers(0, 1)) :])


HIGH = 2_000
LOHA = {f"hada_w{i}_{s}": torch.full((32, HIGH) if s == "a" else (HIGH, 24), 0.1) for i in (1, 2) for s in "ab"}
LOKR = {"lokr_w1": torch.ones(4, 4), "lokr_w2_a": torch.ones(8, HIGH), "lokr_w2_b": torch.ones(HIGH, 6)}


class Making(TorchDispatchMode):
    """Counts the numbers in what is made, and answers as all numbers were `value` where one is asked for."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value, self.most = value, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return self.value
        out = func(*args, **(kwargs or {}))
        given = {storage_of(tensor) for tensor in tree_leaves(args) if isinstance(tensor, Tensor)}
        made = [tensor for tensor in tree_leaves(out) if isinstance(tensor, Tensor) and storage_of(tensor) not in given]
        self.most = max([self.most, *(tensor.untyped_storage().nbytes() // tensor.itemsize for tensor in made)])
        return out


def storage_of(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def outline(shapes: Layer, times: int = 1) -> Style:
    """A style of so many layers of these shapes, without its numbers; VelaturaError where its sizes are refused."""
    header = {f"lora_unet_{n}.{suffix}": shape for n in range(times) for suffix, shape in shapes.items()}
    check_shapes("a", header, MOST_COUNTED)
    tensors = {key: torch.empty(shape) for key, shape in header.items()}
    found, _ = by_layer(tensors)
    sizes = {stem: {end: tuple(t.shape) for end, t in layer.items()} for stem, layer in found.items()}
    check_total("a", sizes.values())
    for stem, layer in sizes.items():
        check_layer("a", stem, layer)
    return Style(Path("a"), tensors, {})


def one_too_large(**shapes: Shape) -> tuple[Layer, None]:
    return {suffix.replace("__", "."): shape for suffix, shape in shapes.items()}, None


@pytest.mark.parametrize("tensors", [LOHA, LOKR], ids=["loha", "lokr"])
def test_a_rank_beyond_the_layers_is_never_multiplied_out(tensors):
    """A small file may name any rank: LoHA's plain form has its square, LoKr's as many times it as the left factor."""
    update = build_update(tensors, (32, 24))
    in_file = sum(tensor.numel() for tensor in tensors.values())
    with Making(1.0) as making:
        assert update.low_rank() is None
        assert stack({0: update}, update.shape, 1) == (None, {0: update})
        assert exact_low_rank(update).rank == 24 and plain_size(update) == 24 * (32 + 24)
        assert merge_svd([update], torch.ones(32, 24), 2).change.rank == 2
        file_tensors(portable(update), 1.0)
    assert making.most <= in_file, f"{making.most:,} numbers from {in_file:,}"


@settings(max_examples=150)
@given(layers(), st.sampled_from((0.0, 1.0)))
@example(one_too_large(oft_blocks=(1, 1, 20_000)), 1.0).via("blocks that are not square")
@example(one_too_large(oft_blocks=(2, 0, 0, 0)), 1.0).via("blocks without numbers")
@example(one_too_large(lokr_w1_a=(1, 4000, 1), lokr_w1_b=(4000, 1, 4000), lokr_w2=(1, 1)), 1.0).via("stacks of w1")
@example(one_too_large(lokr_w1=(0, 0), lokr_w2_a=(0, 1), lokr_w2_b=(1, 0)), 1.0).via("an empty factor")
@example(
    one_too_large(hada_w1_a=(4000, 4000, 1), hada_w1_b=(4000, 1, 4000), hada_w2_a=(4000, 1), hada_w2_b=(1, 1)), 1.0
).via("stacks of a half")
@example(one_too_large(hada_w1_a=(1, 1), hada_w1_b=(1, 40_000), hada_w2_a=(40_000, 1), hada_w2_b=(1, 1)), 1.0).via(
    "halves of two shapes"
)
@example(
    (
        {"a1.weight": (4, 2**20), "a2.weight": (2**20, 4), "b1.weight": (320, 2**20), "b2.weight": (2**20, 4, 3, 3)},
        (320, 4, 3, 3),
    ),
    1.0,
).via("GLoRA of a rank beyond its layer")
def test_what_is_let_through_makes_nothing_larger_than_the_limit(layer, value):
    shapes, base = layer
    with torch.device("meta"):
        try:
            style = outline(shapes)
        except VelaturaError:
            return
        W = None if base is None else torch.ones(base)
        in_file = sum(tensor.numel() for tensor in style.tensors.values())
        with Making(value) as making:
            for stem in style.layers:
                with suppress(VelaturaError):
                    update = style.update(stem, W)
                    update.dense(torch.ones(update.shape) if W is None else W)
        assert making.most <= max(LARGEST_CHANGE, 2 * in_file), f"{making.most:,} numbers"


@settings(max_examples=50)
@given(layers(), st.integers(1, 400))
@example(one_too_large(lokr_w1_a=(8000, 1), lokr_w1_b=(1, 8000), lokr_w2=(1, 1)), 64)
def test_what_many_layers_keep_together_is_bounded_too(layer, times):
    with torch.device("meta"):
        try:
            style = outline(layer[0], times)
        except VelaturaError:
            return
        kept = 0
        with Making(1.0):
            for stem in list(style.layers)[:1]:  # the others are the same
                with suppress(VelaturaError):
                    kept = times * sum(tensor.numel() for tensor in style.update(stem).tensors().values())
        assert kept <= LARGEST_UNFOLDED + 2 * sum(tensor.numel() for tensor in style.tensors.values())


WRITTEN_SIDES = st.integers(-1, 2**65) | st.sampled_from((0, 1, 2**31, 2**62, 2**63, 1.5, "2", None, True, [3]))


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.sampled_from([f"lora_unet_a.{suffix}" for form in FORMS.values() for suffix in form] + ["a", "emb_params"]),
        st.lists(WRITTEN_SIDES, max_size=5),
        max_size=4,
    )
)
@example({"lora_unet_a.diff": [2**63, 0]})
@example({"lora_unet_a.diff": [2**62, 2**62, 0]})
def test_any_shapes_in_a_header_are_read_or_refused_in_words(tmp_path, shapes):
    entries = {key: {"dtype": "F32", "shape": shape, "data_offsets": [0, 64]} for key, shape in shapes.items()}
    text = json.dumps(entries).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(64 if entries else 0))
    try:
        summarise_header(read_outline(path))
    except VelaturaError as error:
        assert "\n" not in str(error)


def test_a_file_of_very_many_tensors_is_refused_before_any_work(tmp_path):
    def write(count):
        entries = {f"a{n}.diff": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(count)}
        text = json.dumps(entries).encode()
        (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
        return tmp_path / "a.safetensors"

    assert len(read_outline(write(MOST_TENSORS)).tensors) == MOST_TENSORS
    larger = write(MOST_TENSORS + 1)
    for read in (read_outline, read_style, describe_style):
        with pytest.raises(VelaturaError, match=r"^a.safetensors holds 20,001 tensors, .*the limit is 20,000$"):
            read(larger)
