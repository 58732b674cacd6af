"""The scores that a run has recorded, and the best of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from trainers.runs.event_lines import Event
from trainers.runs.events import latest_events
from trainers.score.best import Best, find_best
from trainers.score.score import Score

Scores = tuple[Score, ...]
LEAST = 1e-5
"""The smallest distance that is recorded, besides 0."""


def scores_of(events: Iterable[Event]) -> Scores:
    """The newest score of each step in a run's events, earliest first."""
    scores: Scores = ()
    for event in events:
        scores = followed(scores, event)
    return scores


def followed(scores: Scores, event: Event) -> Scores:
    """A run's scores after one more event: a score replaces that of its step, a rollback removes later ones."""
    if event["type"] == "rollback":
        return tuple(score for score in scores if score.step <= event["saved"])
    if event["type"] != "score":
        return scores
    new = Score(event["step"], event["distance"], event["change"], event["error"], variety=event.get("variety"))
    return tuple(sorted((*(score for score in scores if score.step != new.step), new), key=lambda score: score.step))


def recorded_scores(run: Path) -> Scores:
    """The scores that a run's folder records, the base's first; empty without them."""
    return scores_of(latest_events(run))


def told_early(events: Iterable[Event]) -> tuple[bool, bool]:
    """Whether a run has recorded that it no longer comes nearer to the style, and has been stopped since."""
    told = ended = False
    for event in events:
        if event["type"] == "early_stop":
            told = True
        elif event["type"] == "rollback":
            told = False
        elif event["type"] == "stopped":
            ended = told
    return told, ended


def best_of(scores: Sequence[Score]) -> Best | None:
    """The best of scores that begin with the base's; None without others."""
    return find_best(scores[0], scores[1:]) if len(scores) > 1 and not scores[0].step else None


def base_distance(scores: Sequence[Score]) -> float:
    """The base's distance in style, whose score is the first, as the unit of the others; 1 if it is 0."""
    base = scores[0].distance
    return base if base >= LEAST else 1.0
