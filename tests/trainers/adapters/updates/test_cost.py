"""The choice between the two ways of running an update agrees with measured time where the two differ much."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks.choice import LAYERS, METHODS, compare
from trainers.adapters.op import Op
from trainers.adapters.updates import Hadamard, LowRank

pytestmark = pytest.mark.slow


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


MORE = (
    ("linear 320 → 320, 4096 tokens", "LoHA r32", False),
    ("linear 768 → 1280, 77 tokens", "LoKr f−1", True),
    ("conv 3×3 320 → 320, 32 × 32", "LoHA r8", True),
    ("conv 3×3 320 → 320, 32 × 32", "LoHA r32", False),
    ("conv 3×3 640 → 640, stride 2", "LoKr f8", True),
)


@pytest.mark.parametrize(
    ("layer", "method", "factored"),
    [
        ("linear 640 → 640, 256 tokens", "LoHA r4", True),
        ("conv 1×1 320 → 640, 16 × 16", "LoHA r32", False),
        *(pytest.param(*case, marks=pytest.mark.thorough) for case in MORE),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_the_choice_agrees_with_measured_time(layer, method, factored):
    make, shape = LAYERS[layer]
    found = compare(make(), shape, METHODS[method], torch.bfloat16, rounds=3)
    assert found.chose_factored is factored
    assert found.agrees
    assert found.difference > 1.3


def test_more_rank_and_more_positions_speak_for_building():
    op = Op((320, 320))

    def chosen(rank: int, tokens: int) -> bool:
        low = LowRank(torch.zeros(320, rank), torch.zeros(rank, 320), op.shape)
        return Hadamard(low, low).runs_factored(op, tokens)

    assert [chosen(rank, 4096) for rank in (4, 8, 16, 32)] == [True, True, False, False]
    assert [chosen(16, tokens) for tokens in (16, 4096)] == [True, False]
