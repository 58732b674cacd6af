"""Strengths of candidates from votes between two of them, by the model of Bradley and Terry (1952).

Each candidate i has a strength p_i > 0, and P(i beats j) = p_i / (p_i + p_j). A tie counts as half a win for each. As
a weak prior, every candidate also has one tie in all, shared among the others, so that an undefeated one stays finite;
for two candidates, log p_1 / p_2 is then the empirical logit of Haldane and Anscombe, log (w_1 + 1/2) / (w_2 + 1/2).

The strengths maximise the likelihood by the MM algorithm of Hunter (2004): with w_i wins of i and n_ij votes between i
and j, p_i <- w_i / sum_j n_ij / (p_i + p_j) until nothing changes, under the constraint sum_i log p_i = 0. In log p the
observed Fisher information is the Laplacian of the weights n_ij p_i p_j / (p_i + p_j)^2; its pseudo-inverse is the
covariance under the constraint, and 1.96 standard errors to either side are the 95 % interval of log p_i.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Candidate = TypeVar("Candidate", bound=Hashable)
NORMAL_95 = 1.959964
PRIOR_TIES = 1.0
"""Ties of each candidate before the first vote."""
SETTLED, MOST_ROUNDS = 1e-10, 100_000
"""Largest change of a log strength at which the iteration ends, and its limit."""


@dataclass(frozen=True)
class Vote(Generic[Candidate]):
    """A vote between two candidates."""

    first: Candidate
    second: Candidate
    won: float
    """1 if the first was chosen, 0 for the second, 0.5 for a tie."""


@dataclass(frozen=True)
class Rating:
    """The log strength of a candidate, 0 on average, with its 95 % interval."""

    log_strength: float
    low: float
    high: float
    votes: int

    @property
    def chances(self) -> tuple[float, float, float]:
        """The chance to beat one of average strength, and the interval's ends."""
        mean, low, high = (1 / (1 + math.exp(-each)) for each in (self.log_strength, self.low, self.high))
        return mean, low, high


def rate(candidates: Sequence[Candidate], votes: Sequence[Vote[Candidate]]) -> dict[Candidate, Rating]:
    """The ratings of at least two candidates, strongest first; votes about others are left out."""
    places = {candidate: place for place, candidate in enumerate(candidates)}
    counted = [vote for vote in votes if vote.first in places and vote.second in places]
    wins = np.full((len(places),) * 2, PRIOR_TIES / 2 / (len(places) - 1))
    np.fill_diagonal(wins, 0)
    taken = np.zeros(len(places), int)
    for vote in counted:
        first, second = places[vote.first], places[vote.second]
        wins[first, second] += vote.won
        wins[second, first] += 1 - vote.won
        taken[[first, second]] += 1
    theta = maximise(wins)
    reach = NORMAL_95 * standard_errors(wins, theta)
    ratings = {
        candidate: Rating(float(theta[k]), float(theta[k] - reach[k]), float(theta[k] + reach[k]), int(taken[k]))
        for candidate, k in places.items()
    }
    return dict(sorted(ratings.items(), key=lambda pair: -pair[1].log_strength))


def maximise(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log strengths that maximise the likelihood of `wins`, where wins[i, j] are those of i over j."""
    games, won = wins + wins.T, wins.sum(1)
    theta = np.zeros(len(wins))
    for _ in range(MOST_ROUNDS):
        strengths = np.exp(theta)
        fresh = np.log(won / (games / (strengths[:, None] + strengths)).sum(1))
        fresh -= fresh.mean()
        theta, change = fresh, np.abs(fresh - theta).max()
        if change < SETTLED:
            break
    return theta


def standard_errors(wins: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard errors of log strengths whose sum is zero."""
    odds = np.exp(theta[:, None] - theta)
    weights = (wins + wins.T) * odds / (1 + odds) ** 2
    information = np.diag(weights.sum(1)) - weights
    # The pseudo-inverse of a Laplacian; np.linalg.pinv may invert the eigenvalue 0, too, which is rounded.
    covariance = np.linalg.inv(information + weights.mean()) - 1 / weights.sum()
    errors: NDArray[np.float64] = np.sqrt(np.diag(covariance))
    return errors


def is_connected(candidates: Sequence[Candidate], votes: Sequence[Vote[Candidate]]) -> bool:
    """Whether votes link all candidates, so that their strengths can be compared."""
    group = {candidate: {candidate} for candidate in candidates}
    for vote in votes:
        if vote.first in group and vote.second in group:
            joined = group[vote.first] | group[vote.second]
            group.update(dict.fromkeys(joined, joined))
    return len(next(iter(group.values()))) == len(group)


def is_ahead(ratings: Mapping[Candidate, Rating]) -> bool:
    """Whether the interval of the strongest lies above those of all others; for two, a test at 5 %."""
    best, *others = ratings.values()
    return best.low > max(other.high for other in others)
