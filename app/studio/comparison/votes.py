"""Blind votes on the pictures of a run, in a file of its folder to which each vote and each undoing adds a line."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from app.jobs.run_trash import VOTES
from app.studio.runs.choice_files import changing
from trainers.atomic_files import whole_file
from trainers.regular_files import read_inside
from trainers.score.votes import Vote

Candidate = tuple[int, float]
"""A step and a strength."""


@dataclass(frozen=True)
class Votes:
    """The votes of a run that were not undone."""

    lines: int
    """Number of lines in the file, which every vote and every undoing changes."""
    votes: tuple[Vote[Candidate], ...]
    prompts: tuple[str, ...]
    """The prompt of each."""


def read_votes(run: Path) -> Votes:
    """The votes of a run; damaged lines count as none."""
    lines, votes = _lines(run), list[tuple[Vote[Candidate], str]]()
    for line in lines:
        try:
            entry = json.loads(line)
            if entry.get("undo"):
                del votes[-1:]
                continue
            vote = Vote(_candidate(entry["first"]), _candidate(entry["second"]), float(entry["won"]))
            if vote.won in (0, 0.5, 1) and vote.first != vote.second:
                votes.append((vote, str(entry["prompt"])))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            continue
    return Votes(len(lines), tuple(vote for vote, _ in votes), tuple(prompt for _, prompt in votes))


def add_vote(run: Path, prompt: str, vote: Vote[Candidate], lines: int) -> bool:
    """Add a vote that was made when the file had so many `lines`; False if it has others now: that one was faster."""
    return _add(run, {"prompt": prompt, "first": vote.first, "second": vote.second, "won": vote.won}, lines)


def undo_vote(run: Path, lines: int) -> bool:
    """Take the last vote back, like `add_vote`."""
    return _add(run, {"undo": True}, lines)


def next_pair(
    shown: Mapping[str, Sequence[Candidate]], votes: Votes, seed: str
) -> tuple[str, Candidate, Candidate] | None:
    """The prompt and the two candidates to vote on next, in random order; None without two pictures of a prompt.

    They have the fewest votes together, and of these the fewest each. The same votes and `seed` give the same pair.
    """
    pairs = [(prompt, pair) for prompt, drawn in shown.items() for pair in combinations(sorted(drawn), 2)]
    each = Counter(candidate for vote in votes.votes for candidate in (vote.first, vote.second))
    together = Counter(frozenset((vote.first, vote.second)) for vote in votes.votes)
    prompts, chance = Counter(votes.prompts), random.Random(f"{seed} {len(votes.votes)}")
    chance.shuffle(pairs)
    if not pairs:
        return None
    prompt, pair = min(
        pairs,
        key=lambda ballot: (together[frozenset(ballot[1])], sum(map(each.__getitem__, ballot[1])), prompts[ballot[0]]),
    )
    left, right = chance.sample(pair, 2)
    return prompt, left, right


def _add(run: Path, entry: Mapping[str, Any], lines: int) -> bool:
    with changing(run):
        before = _lines(run)
        if len(before) != lines:
            return False
        with whole_file(run / VOTES) as building:
            building.write_text("".join(f"{line}\n" for line in (*before, json.dumps(entry))), encoding="utf-8")
    return True


def _lines(run: Path) -> list[str]:
    try:
        return read_inside(run, VOTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _candidate(value: Any) -> Candidate:
    step, strength = value
    return int(step), float(strength)
