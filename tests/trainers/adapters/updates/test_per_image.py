"""Each image of a batch with its own change gives what it gives alone."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.adapters.layers import LAYERS, VARIANTS, input_for, make_site
from trainers.adapters.updates import PerImage, Update
from trainers.adapters.updates.per_image import stack

MIXED = ("lora", "loha", "lokr", "lora-dora", "sora", "ssf", "ssf-biases", "bitfit", "bitfit-biases", "ia3", "oft",
         "boft", "vera", "tied", "full", "krona")  # fmt: skip
INDEX = torch.tensor([2, -1, 0, 4, 3, 0, 1, *range(len(MIXED) - 1, 4, -1)])
STRENGTHS = torch.tensor([0.5, 2.0, 1.0, -1.0, 0.0, 0.3, 1.7], dtype=torch.float64).repeat(3)[: len(INDEX)]


def changes_of(kind: str) -> tuple[dict[int, Update], torch.Tensor]:
    """A change of one layer by each method, and its weight."""
    sites = [make_site(kind, VARIANTS[name]) for name in MIXED]
    return {number: site.updates()[0] for number, site in enumerate(sites)}, sites[0].weight()


@pytest.mark.parametrize("strong", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_batch_is_its_images_one_by_one(kind, strong):
    changes, W = changes_of(kind)
    op = make_site(kind, VARIANTS["lora"]).op
    stacked, others = stack(changes, op.shape, len(MIXED))
    strengths = STRENGTHS if strong else None
    batch = PerImage(stacked, others, op.shape, INDEX, strengths)
    assert stacked is not None and others and batch.uses_base_output
    x = input_for(kind, 2 * len(INDEX))  # [unconditional, conditional]
    y0 = op(x, W)
    onto = torch.randn(y0.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = batch.apply(op, x, y0, onto)
    for place, number in enumerate([*INDEX, *INDEX]):
        ΔW = torch.zeros_like(W) if number < 0 else changes[int(number)].dense(W)
        strength = 1.0 if strengths is None else strengths[place % len(INDEX)]
        alone = onto[place : place + 1] + op(x[place : place + 1], strength * ΔW)
        if number >= 0 and (shift := changes[int(number)].shift) is not None:
            alone = alone + op.over_channels(strength * shift)
        torch.testing.assert_close(found[place : place + 1], alone)
    torch.testing.assert_close(batch.apply(op, x, y0), found - onto)
    torch.testing.assert_close(batch.scaled(0.25).apply(op, x, y0), 0.25 * (found - onto))


@pytest.mark.parametrize("kind", LAYERS)
def test_padding_to_the_largest_rank_changes_nothing(kind):
    first, second = make_site(kind, VARIANTS["lora"]), make_site(kind, VARIANTS["lokr-both"], seed=4)
    changes = {0: first.updates()[0], 2: second.updates()[0]}
    stacked, others = stack(changes, first.op.shape, 3)
    assert stacked is not None and (stacked.up.shape[0], stacked.rank) == (4, 3)
    assert set(others) <= {2}
    batch = PerImage(stacked, others, first.op.shape, torch.tensor([0, 1]))
    x = input_for(kind)
    found = batch.apply(first.op, x)
    torch.testing.assert_close(found[:1], first.op(x[:1], first.dense()))
    assert found[1].abs().max() == 0, "a style that does not change this layer"


def test_one_vector_an_image():
    """Time embeddings are `(n, in)`, without positions."""
    site = make_site("linear", VARIANTS["lora"])
    stacked, others = stack({0: site.updates()[0]}, site.op.shape, 1)
    x = input_for("linear", 3)[:, 0]
    found = PerImage(stacked, others, site.op.shape, torch.tensor([-1, 0, 0])).apply(site.op, x)
    assert found.shape == (3, 20) and found[0].abs().max() == 0
    torch.testing.assert_close(found[1:], x[1:] @ site.dense().T)


def test_what_it_is_not():
    changes, W = changes_of("linear")
    stacked, others = stack(changes, tuple(W.shape), len(MIXED))
    batch = PerImage(stacked, others, tuple(W.shape), INDEX)
    with pytest.raises(ValueError, match="differs between images"):
        batch.dense(W)
    with pytest.raises(ValueError, match=f"a batch of 10 is not a multiple of the {len(INDEX)} images"):
        batch.apply(make_site("linear", VARIANTS["lora"]).op, input_for("linear", 10))
    assert batch.low_rank() is None
