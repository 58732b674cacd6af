"""The measured runs: one line each in `benchmarks/scoring.jsonl`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.scoring.plan import Plan
from benchmarks.styles.rows import append_line, base_hash, read_lines

RESULTS = Path(__file__).parents[1] / "scoring.jsonl"
BEFORE = "base"
Figures = Mapping[str, Mapping[str, list[float]]]
"""The figures of a run by state and kind, one for each drawing seed."""


@dataclass(frozen=True)
class Measured:
    """A run with its figures and the losses on its held-out pictures by step."""

    plan: Plan
    figures: Figures
    held_out: Mapping[str, float]

    @property
    def states(self) -> list[str]:
        """The names of its states but the base's."""
        return [state for state in self.figures if state != BEFORE]

    @property
    def at_one(self) -> list[str]:
        """Those of strength 1, in the order of the steps."""
        return [state for state in self.states if state.endswith("@1")]

    @property
    def last(self) -> str:
        """The state of its last step at strength 1."""
        return f"{self.plan.steps}@1"

    def mean(self, state: str, kind: str) -> float:
        """A figure's mean over the drawing seeds."""
        return statistics.mean(self.figures[state][kind])

    def truth(self, state: str, kind: str = "truth_style") -> float:
        """A truth of a state as a share of the untouched base's: less is nearer."""
        return self.mean(state, kind) / self.mean(BEFORE, kind)


def read_results(path: Path = RESULTS) -> dict[str, Measured]:
    """The measured runs by name, of today's starter."""
    entries = (entry for entry in read_lines(path) if entry.get("base") == base_hash()[:8])
    runs = (Measured(Plan(**entry["run"]), entry["figures"], entry["held_out"]) for entry in entries)
    return {run.plan.name: run for run in runs}


def append_result(plan: Plan, figures: Figures, held_out: Mapping[str, float], **facts: Any) -> None:
    """Add a run."""
    entry = {"run": asdict(plan), "base": base_hash()[:8], "figures": figures, "held_out": held_out, **facts}
    append_line(RESULTS, entry)
