"""The LoRA that is drawn out of a whole change is the best there is, and what it leaves out is known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainers.adapters.layers import LAYERS, attach_to, make_layers, make_site, shake
from trainers.adapters.methods.full import Full
from trainers.adapters.targets import BlockOverride, Targets
from trainers.formats.extract import extract, kept_share
from trainers.formats.write.core import file_update, file_updates


def change(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30)
@given(st.sampled_from([(12, 20), (20, 12), (6, 5, 3, 3), (50, 5, 3, 3), (20, 12, 1, 1)]), st.integers(1, 25))
def test_the_error_is_the_tail_of_the_singular_values(shape, rank):
    D = change(*shape)
    low = extract(D, rank)
    S = torch.linalg.svdvals(D.flatten(1))
    assert low.shape == shape and low.rank == min(rank, len(S))
    assert (low.dense() - D).norm().item() == pytest.approx(S[rank:].norm().item(), abs=1e-10)
    assert low.dense().norm().item() == pytest.approx(S[:rank].norm().item(), rel=1e-10)


def test_fp32_is_extracted_as_well_as_fp32_can():
    D = (change(40, 7, 3, 3) * torch.logspace(0, -4, 40, dtype=torch.float64)[:, None, None, None]).float()
    S = torch.linalg.svdvals(D.double().flatten(1))
    error = (extract(D, 10).dense() - D).double().norm().item()
    assert error == pytest.approx(S[10:].norm().item(), rel=1e-4)
    assert extract(torch.zeros(12, 20), 3).dense().abs().max() == 0


@pytest.mark.parametrize("kind", LAYERS)
def test_a_file_holds_the_extracted_change(kind):
    site = make_site(kind, Full(extract_rank=5))
    S = torch.linalg.svdvals(site.dense().flatten(1))
    left = (file_update(site).dense(site.weight()) - site.dense()).norm()
    assert left.item() == pytest.approx(S[5:].norm().item(), rel=1e-6)
    assert kept_share({site: file_update(site)}) == pytest.approx((S[:5].norm() / S.norm()).item(), rel=1e-6)


def test_ranks_by_block_and_the_share_of_all_layers_together():
    targets = Targets(unet=("*",), blocks={"wide": BlockOverride(rank=9)})
    network = attach_to(make_layers(), Full(extract_rank=4), targets=targets)
    shake(network)
    written = file_updates(network)
    ranks = {site.path: update.rank for site, update in written.items()}
    assert ranks == {"strided": 4, "dilated": 4, "pointwise": 4, "wide": 9, "narrow": 4}
    values = {site.path: torch.linalg.svdvals(site.dense().flatten(1)).square() for site in network.sites}
    kept = sum(values[path][: ranks[path]].sum().item() for path in values)
    assert kept_share(written) == pytest.approx(
        math.sqrt(kept / sum(v.sum().item() for v in values.values())), rel=1e-5
    )
    whole = attach_to(make_layers(), Full())
    shake(whole)
    assert kept_share(file_updates(whole)) == 1.0
