"""The rows: which there are to be, with which settings, and which there are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trainers.config import Train
from trainers.config_file import overlay
from trainers.presets import STARTER, find_preset, list_presets
from trainers.techniques import list_techniques

RESULTS = Path(__file__).parents[1] / "styles.jsonl"
BASE = "base"
"""Instead of a preset: the bare base, and the truth once through the autoencoder."""
STYLES = ("black-line", "blob")
SWEPT = STYLES[0]
"""The style on which learning rates are tried, with the first seed."""
RATES: Mapping[str, float] = MappingProxyType({"preset": 1.0, "third": 1 / 3, "triple": 3.0})
"""Shares of the preset's learning rate, in the order in which they are tried."""
FIRST_SEED = 1
STEPS = 200
SCHEDULE: Mapping[str, Any] = MappingProxyType({"batch_size": 4, "device": "cpu", "precision": "fp32"})


@dataclass(frozen=True)
class Row:
    """One training: a preset on a style at a share of its learning rate, with a seed and a number of steps."""

    preset: str
    style: str
    rate: str = "preset"
    seed: int = FIRST_SEED
    steps: int = STEPS

    @property
    def name(self) -> str:
        """What its files are called: settings that changed give another name."""
        return "-".join((self.preset, self.style, self.rate, str(self.seed), digest(self)))


@dataclass(frozen=True)
class Figures:
    """What one row gave; of the base, `truth` is the style distance of the truth once through the autoencoder."""

    loss: float
    """Mean denoising error on the held-out images, at fixed times and with fixed noise."""
    style: float
    """Style distance of what is drawn for the held-out captions to the held-out images."""
    truth: float = 0.0
    learning_rate: float = 0.0
    parameters: int = 0
    bytes: int = 0
    """Of the style file, with its twin for diffusers left out."""
    seconds: float = 0.0
    """Of all steps, by the wall, and by the process's own time over all threads."""
    cpu_seconds: float = 0.0
    memory: int = 0
    """The most bytes that the process held while it trained."""


def settings(row: Row) -> dict[str, Any]:
    """The row's settings but for name, seed and images: the preset's for the starter, at its share of every rate."""
    short = {"train": {"steps": row.steps, **SCHEDULE}}
    if row.preset == BASE:
        return short
    return at_rate(overlay(find_preset(row.preset).settings_for(STARTER), short), RATES[row.rate])


def at_rate(table: Mapping[str, Any], share: float) -> dict[str, Any]:
    """The table with a share of every learning rate in it, and of the usual one where it has none."""

    def scaled(part: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: scaled(value)
            if isinstance(value, Mapping)
            else float(f"{value * share:.3g}")
            if key.endswith("learning_rate")
            else value
            for key, value in part.items()
        }

    found = scaled({key: value for key, value in table.items() if key != "targets"})  # there they are ratios
    if "learning_rate" not in json.dumps(found):
        found["train"] = {**found.get("train", {}), "learning_rate": Train().learning_rate * share}
    return {**table, **found}


@cache
def digest(row: Row) -> str:
    """Short hash of a row's settings: rows of older ones do not count any more."""
    return hashlib.sha256(json.dumps(settings(row), sort_keys=True).encode()).hexdigest()[:10]


# ---------------------------------------------------------------- those there are
class Results:
    """Lines of a file, each a row with its figures, or with the error that it ended with."""

    def __init__(self, path: Path):
        self.path = path

    def read(self, steps: int = STEPS) -> dict[Row, dict[str, Any]]:
        """The last line of each row whose settings are those of today; half a line is passed over."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        known = {BASE, *(preset.name for preset in list_presets())}
        found = {}
        for line in lines:
            try:
                entry = json.loads(line)
                row = Row(**entry["row"])
            except (ValueError, KeyError, TypeError):
                continue
            today = row.preset in known and row.rate in RATES and row.steps == steps
            if today and entry.get("digest") == digest(row):
                found[row] = entry
        return found

    def append(self, row: Row, **facts: Any) -> None:
        """Add a line; one that a kill cut short is ended first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        cut = self.path.exists() and self.path.stat().st_size and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * bool(cut) + json.dumps({"row": asdict(row), "digest": digest(row), **facts}) + "\n")

    def has(self, row: Row, commit: str) -> bool:
        """Whether a row need not be trained; one that ended with an error is tried again at another commit."""
        entry = self.read(row.steps).get(row)
        return entry is not None and ("error" not in entry or entry["commit"] == commit)


def best_rate(found: Mapping[Row, Mapping[str, Any]], preset: str) -> str | None:
    """The rate of the sweep with the least held-out loss, None where no row of it came to an end."""
    swept = {
        row.rate: entry["figures"]["loss"]
        for row, entry in found.items()
        if row.preset == preset and row.style == SWEPT and row.seed == FIRST_SEED and "figures" in entry
    }
    return min(swept, key=lambda rate: swept[rate]) if swept else None


# ---------------------------------------------------------------- those there are to be
def every_preset() -> tuple[str, ...]:
    """The preset of each technique."""
    return tuple(one.name for one in list_techniques())


def wanted(presets: Sequence[str], seeds: int, sweep_only: bool, results: Results, steps: int = STEPS) -> Iterator[Row]:
    """Every row in the order of its use, known or not: bare base, sweep, then all seeds and styles at the best rate."""
    for style in STYLES:
        yield Row(BASE, style, steps=steps)
    for rate in RATES:
        for preset in presets:
            yield Row(preset, SWEPT, rate, steps=steps)
    for number in range(0 if sweep_only else seeds):
        for style in STYLES:
            for preset in presets:
                rate_found = best_rate(results.read(steps), preset)
                if rate_found is not None:
                    yield Row(preset, style, rate_found, FIRST_SEED + number, steps)
