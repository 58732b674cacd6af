"""What every method says of itself: how many numbers it trains, against layers and blocks that it is on."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.trainers.adapters.blocks import IN, OUT, TEXT, make_block
from tests.trainers.adapters.layers import make_site
from tests.trainers.tiny_runs import methods_without_form
from trainers.adapters.block import BlockMethod
from trainers.adapters.method import LayerMethod, RankedMethod
from trainers.adapters.methods import METHODS
from trainers.adapters.methods.dylora import DyLoRA
from trainers.adapters.methods.initial import factorise
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.updates import LowRank
from trainers.config.techniques import TECHNIQUES

KINDS = {"linear": 1, "strided": 3, "pointwise": 1}
"""Layers from 12 to 20 channels with a bias, and the width of their kernels."""
FOR_LAYERS = sorted(name for name, kind in METHODS.items() if issubclass(kind, LayerMethod))
EXAMPLES = {"boft": OFT(block_size=5, butterfly=True), "lora-fa": METHODS["lora"](freeze_a=True)}


def evaluate(formula: str, **letters: int) -> float:
    """A formula in numbers: what stands beside each other is multiplied."""
    formula = formula.partition(";")[0].replace("²", "**2").replace("−", "-")
    python = re.sub(r"(?<=[\w)]) (?=[\w(])", "*", re.sub(r"\bin\b", "read", formula))
    return eval(python, {"__builtins__": {}}, {"read": letters.pop("in_"), **letters})


def numbers(parameters) -> int:
    return sum(p.numel() for p in parameters if p.requires_grad)


def small(kind: type) -> LayerMethod:
    """The method as it is by default, but for a small rank that is no alpha; IA³ on any layer."""
    if issubclass(kind, RankedMethod) and kind is not LoKr:
        return kind().with_rank(4)
    return kind(everywhere=True) if kind.name == "ia3" else kind()


@pytest.mark.parametrize("layer", KINDS)
@pytest.mark.parametrize("name", FOR_LAYERS)
def test_a_layer_trains_as_many_numbers_as_its_formula_says(name, layer):
    method = small(METHODS[name])
    site = make_site(layer, method)
    (u_out, v_out), (u_in, v_in) = (factorise(width, 8 if name == "lokr" else -1) for width in (20, 12))
    splits = {"u_out": u_out, "v_out": v_out, "u_in": u_in, "v_in": v_in}
    b = method.block(20) if isinstance(method, OFT) else 0
    expected = evaluate(
        method.about.parameters, in_=12, out=20, k=KINDS[layer], r=getattr(method, "rank", 0), b=b, **splits
    )
    assert numbers(site.parameters()) == expected
    if name == "tied":
        besides = method.about.parameters.partition("; ")[2].removesuffix(" a shape")
        expected = evaluate(besides, in_=12, out=20, k=KINDS[layer], r=4)
        assert numbers(site.placed[0].shared.values()) == expected


@pytest.mark.parametrize("layer", KINDS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_so_does_a_technique_beside_the_methods(name, layer):
    method = EXAMPLES[name]
    (formula,) = (one.parameters for one in TECHNIQUES if one.name == name)
    letters = {"b": 10, "m": 2} if name == "boft" else {"r": 16}  # 20 channels are 2 blocks of 10, turned twice
    expected = evaluate(formula, in_=12, out=20, k=KINDS[layer], **letters)
    assert numbers(make_site(layer, method).parameters()) == expected


@pytest.mark.parametrize(
    ("kind", "name", "letters"),
    [
        ("attn1", "adapter", {"m": 32}),
        ("conv2", "adapter", {"m": 32}),
        ("ff", "krona-b", dict(zip(("u_out", "v_out", "u_in", "v_in"), (4, 5, 3, 4), strict=True))),
        ("attn2", "vpt", {"n": 8, "in_text": TEXT}),
    ],
)
def test_a_block_trains_as_many_numbers_as_its_formula_says(kind, name, letters):
    method = METHODS[name]()
    assert isinstance(method, BlockMethod)
    if kind == "conv2":
        method = replace(method, form="convolution")
    expected = evaluate(method.about.parameters, in_=IN, out=OUT, **letters)
    assert numbers(make_block(kind, method).parameters()) == expected


def test_every_method_and_technique_has_a_formula():
    assert all(kind.about.parameters for kind in METHODS.values())
    assert all(one.parameters for one in TECHNIQUES)


FORMS = {"pissa": LoRA(rank=3, start="pissa"), "cut": DyLoRA(rank=4, unit=2, kept_rank=2)}
RANKED = {
    name: method
    for name, method in {**methods_without_form(()), **FORMS}.items()
    if method.merges and name != "selora" and isinstance(make_site("linear", method).updates()[0], LowRank)
}
"""Methods whose files hold plain LoRA; SeLoRA starts at rank 1 and grows up to what its file says."""


@pytest.mark.parametrize("name", RANKED)
def test_the_rank_in_metadata_is_that_of_the_tensors(name):
    assert make_site("linear", RANKED[name]).updates()[0].rank == RANKED[name].file_form().rank
