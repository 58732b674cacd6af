"""The steps of a run as template data: addresses that tell nothing, the ballot and the result of the votes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.studio.comparison.step_grid import Place, StepGrid
from app.studio.comparison.votes import Candidate, Votes, next_pair
from app.studio.public_files import put_web_copy
from app.ui.steps import text as words
from trainers.score.votes import Rating, is_ahead, is_connected, rate

EACH = 5
"""Votes for each candidate after which a clear difference shows."""


@dataclass(frozen=True)
class Ballot:
    """Two pictures to vote on, which nothing names."""

    prompt: str
    left: Path
    right: Path


@dataclass(frozen=True)
class Result:
    """What the votes say."""

    sentence: str
    count: int
    about: int
    ahead: int | None = None
    """The step of the candidate that is clearly ahead."""
    ratings: Mapping[Candidate, Rating] = field(default_factory=dict)


def row_name(grid: StepGrid, row: int) -> str:
    """A prompt, with its seed where the run has several."""
    prompt, seed = grid.every_row[row]
    several = len({seed for _, seed in grid.every_row}) > 1
    return words.SEEDED.format(prompt=prompt, seed=seed) if several else prompt


def key_of(path: Path, public: Path) -> str:
    """The key of a picture, which tells nothing about it."""
    seen = f"{path}|{path.stat().st_mtime_ns}".encode()
    return hashlib.blake2b(seen, key=public.name.encode()[:64], digest_size=12).hexdigest()


def web_copy(path: Path, public: Path, small: bool = False) -> Path:
    """A copy of a picture in a public folder, called by its key."""
    return put_web_copy(path, public / f"{key_of(path, public)}{'-small' if small else ''}.webp", small)


def read_ballot(grid: StepGrid, votes: Votes, public: Path) -> Ballot | None:
    """The next two pictures; None if there are none of one prompt."""
    rows = {row_name(grid, row): row for row in grid.rows}
    drawn = {
        name: [(step, strength) for of, step, strength in grid.pictures if of == row] for name, row in rows.items()
    }
    pair = next_pair(drawn, votes, public.name)
    if pair is None:
        return None
    prompt, left, right = pair
    left_copy, right_copy = (web_copy(grid.pictures[rows[prompt], *each], public) for each in (left, right))
    return Ballot(prompt, left_copy, right_copy)


def find_voted(grid: StepGrid, key: str, public: Path) -> Place | None:
    """The place of a picture's untrusted key."""
    return next((place for place, path in grid.pictures.items() if key_of(path, public) == key), None)


def read_result(grid: StepGrid, votes: Votes) -> Result:
    """What the votes say about the candidates of the grid."""
    candidates = grid.candidates
    counted = [vote for vote in votes.votes if vote.first in candidates and vote.second in candidates]
    count, about = len(counted), EACH * len(candidates)
    if not counted:
        return Result(words.NO_VOTES, 0, about)
    ratings, linked = rate(candidates, counted), is_connected(candidates, counted)
    if linked and is_ahead(ratings):
        first = next(iter(ratings))
        return Result(words.AHEAD.format(candidate=words.candidate(first)), count, about, first[0], ratings)
    sentence = words.TOO_FEW if count < about else words.LEVEL if linked else words.LOOSE
    return Result(sentence.format(count=count, about=about, more=max(1, about - count)), count, about, None, ratings)
