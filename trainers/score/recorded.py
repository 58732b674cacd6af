"""The scores that a run has recorded, and the best of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trainers.runs.event_lines import Event
from trainers.runs.events import latest_events
from trainers.score.best import Best, find_best
from trainers.score.pictures import Score


def scores_of(events: Iterable[Event]) -> list[Score]:
    """The newest score of each step in a run's events, the base's first; empty without the base's."""
    scores = {
        event["step"]: Score(event["step"], event["distance"], event["change"], event["error"])
        for event in events
        if event["type"] == "score"
    }
    return [scores[step] for step in sorted(scores)] if 0 in scores else []


def recorded_scores(run: Path) -> list[Score]:
    """The scores that a run's folder records, the base's first; empty without them."""
    return scores_of(latest_events(run))


def best_of(scores: list[Score]) -> Best | None:
    """The best of scores that begin with the base's; None without others."""
    return find_best(scores[0], scores[1:]) if len(scores) > 1 else None
