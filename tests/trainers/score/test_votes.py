"""Strengths from votes: closed forms, an independent maximum, order, ties, and how often the intervals are right."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from trainers.score.votes import Vote, is_ahead, is_connected, maximise, rate, standard_errors


def votes_of(counts: dict[tuple[str, str], float]) -> list[Vote[str]]:
    """So many votes for the first of a pair over the second."""
    return [Vote(*pair, 1.0) for pair, count in counts.items() for _ in range(int(count))]


@pytest.mark.parametrize(("won", "lost"), [(7, 3), (1, 1), (12, 0), (0, 4)])
def test_two_candidates_have_the_empirical_logit_and_its_error(won, lost):
    ratings = rate(["a", "b"], votes_of({("a", "b"): won, ("b", "a"): lost}))
    logit = math.log((won + 0.5) / (lost + 0.5))
    error = math.sqrt(1 / (won + 0.5) + 1 / (lost + 0.5)) / 2
    best = ratings["a"]
    assert best.log_strength == pytest.approx(logit / 2) and ratings["b"].log_strength == pytest.approx(-logit / 2)
    assert [best.low, best.high] == pytest.approx([logit / 2 - 1.959964 * error, logit / 2 + 1.959964 * error])
    assert best.votes == won + lost
    if won != lost:
        assert is_ahead(ratings) == (abs(logit) > 1.959964 * 2 * error), "for two it is the test of their difference"


def newton(wins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maximum by Newton's method with the first strength fixed, and the errors under the sum-zero constraint."""
    count = len(wins)
    theta = np.zeros(count)
    for _ in range(50):
        chance = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
        gradient = (wins - (wins + wins.T) * chance).sum(1)
        weights = (wins + wins.T) * chance * chance.T
        hessian = np.diag(weights.sum(1)) - weights
        theta[1:] += np.linalg.solve(hessian[1:, 1:], gradient[1:])
    fixed = np.zeros((count, count))
    fixed[1:, 1:] = np.linalg.inv(hessian[1:, 1:])
    centre = np.eye(count) - 1 / count
    return centre @ theta, np.sqrt(np.diag(centre @ fixed @ centre))


def test_three_candidates_agree_with_newtons_method():
    wins = np.array([[0, 7.5, 6], [2.5, 0, 4], [1, 5, 0]])
    theta, errors = newton(wins)
    assert maximise(wins) == pytest.approx(theta, abs=1e-8)
    assert standard_errors(wins, theta) == pytest.approx(errors, rel=1e-6)
    assert theta.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", [416, 586, 1870])
def test_the_errors_of_many_candidates_are_those_of_newtons_method(seed):
    chance = np.random.default_rng(seed)
    count = int(chance.integers(2, 30))
    wins = chance.integers(0, 30, (count, count)) + 0.5 / (count - 1)
    np.fill_diagonal(wins, 0)
    theta, errors = newton(wins)
    assert maximise(wins) == pytest.approx(theta, abs=1e-8)
    assert standard_errors(wins, theta) == pytest.approx(errors, rel=1e-6)


def test_a_cycle_of_three_is_level():
    ratings = rate(["a", "b", "c"], votes_of({("a", "b"): 3, ("b", "c"): 3, ("c", "a"): 3}))
    assert [each.log_strength for each in ratings.values()] == pytest.approx([0, 0, 0], abs=1e-8)
    assert not is_ahead(ratings)


def test_neither_the_order_of_votes_nor_the_sides_matter():
    votes = [*votes_of({("a", "b"): 4, ("b", "c"): 3, ("c", "a"): 1, ("b", "a"): 2}), Vote("a", "c", 0.5)]
    ratings = rate(["a", "b", "c"], votes)
    turned = [Vote(vote.second, vote.first, 1 - vote.won) for vote in votes]
    for other in (rate(["a", "b", "c"], random.Random(3).sample(votes, len(votes))), rate(["c", "a", "b"], turned)):
        assert list(other) == list(ratings)
        for name, rating in ratings.items():
            assert other[name].log_strength == pytest.approx(rating.log_strength, abs=1e-8)
            assert other[name].high == pytest.approx(rating.high, abs=1e-8)


def test_a_tie_is_half_a_win_for_each_and_others_are_left_out():
    ties = [Vote("a", "b", 0.5)] * 2 + [Vote("a", "gone", 1.0)]
    assert rate(["a", "b"], ties)["a"].log_strength == pytest.approx(0, abs=1e-9)
    split = rate(["a", "b", "c"], [Vote("a", "b", 0.5)] * 4)["a"].high
    assert split == pytest.approx(rate(["a", "b", "c"], votes_of({("a", "b"): 2, ("b", "a"): 2}))["a"].high)


def test_an_undefeated_one_is_finite_and_the_best_is_ahead_once_it_is_clear():
    few, many = ({("a", name): count for name in "bcd"} for count in (1, 20))
    assert math.isfinite(rate("abcd", votes_of(many))["a"].high)
    assert is_ahead(rate("abcd", votes_of(many))) and not is_ahead(rate("abcd", votes_of(few)))
    assert next(iter(rate("abcd", votes_of(few)))) == "a"


def test_candidates_are_connected_by_a_chain_of_votes():
    chain = [Vote("a", "b", 1.0), Vote("c", "d", 0.0)]
    assert not is_connected("abcd", chain) and is_connected("abcd", [*chain, Vote("d", "a", 0.5)])
    assert not is_connected("ab", [Vote("a", "gone", 1.0)])


def test_the_intervals_hold_the_true_strengths_about_as_often_as_they_say():
    """In 300 elections of 42 votes between four candidates; the noise of 1200 intervals is ± 1.3 points."""
    true, chance = np.array([0.9, 0.3, -0.3, -0.9]), random.Random(11)
    pairs, hits, false_leads = list(itertools.combinations(range(4), 2)), 0, 0
    for _ in range(300):
        drawn = [pairs[number % len(pairs)] for number in range(42)]
        votes = [Vote(a, b, float(chance.random() < 1 / (1 + math.exp(true[b] - true[a])))) for a, b in drawn]
        ratings = rate(range(4), votes)
        hits += sum(rating.low <= true[k] <= rating.high for k, rating in ratings.items())
        level = [Vote(a, b, float(chance.random() < 0.5)) for a, b in drawn]
        false_leads += is_ahead(rate(range(4), level))
    assert 0.93 <= hits / 1200 <= 0.985
    assert false_leads / 300 <= 0.05, "among equals, hardly ever is one said to be ahead"
