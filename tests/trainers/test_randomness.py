"""Draws depend on what they are for and on nothing else."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.randomness import generator, seed_for

what = st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=4)


def test_a_known_seed():
    # SHA-256 of "0", U+001F, "noise", U+001F, "7": first eight bytes, big-endian, halved.
    assert seed_for(0, "noise", 7) == 0xAB71921967D7E720 >> 1


@given(what)
def test_the_same_purpose_gives_the_same_draw(purpose):
    assert 0 <= seed_for(*purpose) < 2**63
    assert torch.equal(torch.rand(3, generator=generator(*purpose)), torch.rand(3, generator=generator(*purpose)))


def test_purposes_are_told_apart():
    seeds = {seed_for(*each) for each in ((1, 2), (12,), (2, 1), ("1", "2", ""), (1, 2, 0), ("a",), (0, "a"))}
    assert len(seeds) == 7


def test_draws_leave_the_global_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    torch.rand(5, generator=generator(0, "noise", 1))
    assert torch.equal(torch.rand(1), expected)


def test_draws_of_neighbouring_steps_are_independent():
    rows = torch.stack([torch.randn(4096, generator=generator(0, "noise", step)) for step in range(8)])
    correlation = torch.corrcoef(rows) - torch.eye(8)
    assert correlation.abs().max() < 0.08 and abs(rows.mean().item()) < 0.02 and abs(rows.std().item() - 1) < 0.02
