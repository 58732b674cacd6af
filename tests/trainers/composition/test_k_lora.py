"""When a layer turns from the content to the style."""

from __future__ import annotations

import math

import pytest
import torch

from trainers.adapters.updates import Dense
from trainers.composition.k_lora import balance, largest, rank_of, turning_points


def test_by_hand():
    content = [torch.tensor([[4.0, -2.0], [1.0, 1.0]]), torch.tensor([[1.0, 1.0, -1.0, 1.0]])]
    style = [torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([[0.0, -4.0, 0.0, 0.0]])]
    # γ = mean(8/4, 4/4) = 1.5; of two entries, c = 6 and 2, s = 2 and 4.
    assert turning_points(content, style, [2, 2]) == pytest.approx([6 / 3, 2 / 6])
    assert turning_points(content, [2 * s for s in style], [2, 2]) == pytest.approx([2, 1 / 3]), "strength is no matter"
    assert turning_points(content, [style[0], 0 * style[1]], [2, 2]) == [pytest.approx(1.5), math.inf]


def test_ratios_far_above_the_others_say_nothing_of_the_balance():
    assert balance([1.0, 2.0, 3.0]) == 2 and balance([1.0, 2.0, 3.0, 100.0]) == 2
    assert balance([]) == 1 and balance([0.0, 0.0]) == 1


def test_the_largest_entries():
    change = torch.tensor([[1.0, -5.0], [3.0, 0.5]])
    assert [largest(change, count) for count in (1, 2, 9)] == [5, 8, 9.5]
    assert rank_of(Dense(torch.zeros(5, 2, 3, 3))) == 5
