"""How far a job is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from app.jobs.states import State
from app.jobs.store import ESTIMATE, TRAIN
from app.studio.studio_queue import share


@pytest.mark.parametrize(
    ("state", "kind", "summary", "expected"),
    [
        (State.FINISHED, TRAIN, {"step": 40}, 1.0),
        (State.STOPPED, TRAIN, {"step": 1, "left": 2.0}, 1 / 40),
        (State.INTERRUPTED, TRAIN, {"step": 10}, 0.25),
        (State.TRAINING, TRAIN, {"step": 10, "reached": 0.625}, 0.625),  # sampling is still to be done
        (State.PAUSED, TRAIN, {"step": 10, "reached": 0.625}, 0.625),
        (State.WORKING, ESTIMATE, {"share": (1, 5)}, 0.2),
    ],
)
def test_how_far_a_job_is(state: State, kind: str, summary: dict[str, object], expected: float) -> None:
    told = {"step": 0, "steps": 40, "share": (0, 0)} | summary
    view = SimpleNamespace(state=state, job=SimpleNamespace(kind=kind), summary=SimpleNamespace(**told))
    assert share(view) == pytest.approx(expected)
