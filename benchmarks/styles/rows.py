"""The rows: with which settings, and which of them there are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.styles.recipes import RECIPES, SAME_WORK
from trainers.config.presets import STARTER, find_preset
from trainers.config.tables import overlay
from trainers.errors import VelaturaError
from trainers.models.files.source import starter_folder

RESULTS = Path(__file__).parents[1] / "stylebench.jsonl"
BASE = "base"
"""Instead of a preset: the untouched base."""
UNIT = "lora"
"""The preset whose step costs 1, and whose file the others' are to be as large as."""
BUDGET = 200
"""Steps of `UNIT` that each training on the starter costs; on another base as many as its preset has."""
STOPS = ("quick", "balanced", "faithful")
"""The presets among which the studio asks to choose first. They are measured as they are, with steps of their own."""
TRIGGER = "sks"
"""The word that a preset with class images is given: without one, nothing tells the style from the class."""
SCHEDULE: Mapping[str, Any] = MappingProxyType({"batch_size": 4, "device": "cpu", "precision": "fp32"})
"""Of all trainings on the starter."""
SIZED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "lokr": {"factor": 4},
        "vera": {"rank": 16},
        "full": {"extract_rank": 16},
        "t-lora": {"rank": 4, "alpha": 4.0},
        "tied": {"rank": 16, "alpha": 16.0},
        "pissa": {"rank": 8, "alpha": 8.0},
        "dreambooth": {"extract_rank": 15},
    }
)
"""Settings of methods with which a file is about as large as a LoRA's of rank 16."""


@dataclass(frozen=True)
class Setup:
    """What all rows of a table share."""

    base: str = STARTER
    device: str = "cpu"

    @property
    def name(self) -> str:
        """The base in a line: its folder's or file's name, or the beginning of the hash of the starter's denoiser."""
        return base_hash()[:8] if self.base == STARTER else Path(self.base).name.removesuffix(".safetensors")

    @property
    def scale(self) -> int:
        """How many times as large as for the starter pictures are; no base needs larger ones."""
        return 1 if self.base == STARTER else 4

    @property
    def budget(self) -> int:
        """Steps of `UNIT` that each training costs."""
        return BUDGET if self.base == STARTER else int(find_preset(UNIT).settings_for(self.base)["train"]["steps"])


@dataclass(frozen=True)
class Row:
    """One training: a preset, one of `RECIPES`, or the untouched base, on so many pictures of a style, with a seed."""

    preset: str
    style: str
    pictures: int = 0
    seed: int = 1

    @property
    def name(self) -> str:
        """Of its folder."""
        return "-".join(map(str, asdict(self).values()))


@dataclass(frozen=True)
class Figures:
    """What one row gave; distances are to the true pictures of concepts that were not trained."""

    style: float
    """Mean relative difference of Gram matrices."""
    content: float
    """1 − cosine of the embeddings of a picture and the true one of the same concept."""
    change: float = 0.0
    """1 − cosine of the embeddings of a picture and the base's of the same prompt and seed."""
    truth: float = 0.0
    """Of the base: the style distance of the truth once through the autoencoder."""
    halves: float = 0.0
    """Of the base: the style distance of one half of the truth from the other."""
    steps: int = 0
    parameters: int = 0
    bytes: int = 0
    """Of the style file, with its twin for diffusers left out."""
    cpu_seconds: float = 0.0
    """Of all steps, over all threads."""
    memory: int = 0
    """The most bytes that the process, or on a card its part of it, held while it trained."""


def settings(preset: str, setup: Setup) -> dict[str, Any]:
    """A preset's or recipe's settings for a base, with a file of equal size, but for steps, name, seed and pictures."""
    table = find_preset(UNIT if preset in RECIPES else preset).settings_for(setup.base)
    table = overlay(table, RECIPES.get(preset, {}))
    if preset in SIZED:
        table = overlay(table, {"method": dict(SIZED[preset])})
    if "prior" in table:
        table = overlay(table, {"data": {"trigger": TRIGGER}})
    return overlay(table, {"train": dict(SCHEDULE)} if setup.base == STARTER else {})


def steps_of(preset: str, cost: float, setup: Setup) -> int:
    """The steps that the budget allows at this cost of one; those of `STOPS` are their own."""
    own = int(settings(preset, setup)["train"]["steps"])
    return own if preset in STOPS else max(1, round(setup.budget / cost))


@cache
def base_hash() -> str:
    """SHA-256 of the starter's denoiser, read once."""
    from trainers.models.load import hash_files

    return hash_files([starter_folder() / "unet" / "diffusion_pytorch_model.safetensors"])


@cache
def digest(preset: str, setup: Setup) -> str:
    """Short hash of a preset's settings, the budget and the base: what was measured with older ones does not count."""
    table = settings(preset, setup) if preset != BASE else {}
    facts = [table, setup.budget, base_hash() if setup.base == STARTER else setup.name]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]


# ---------------------------------------------------------------- those there are
def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a file of JSON lines, if it is there; what a kill left of a line is passed over."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Add an entry to a file of JSON lines; a line that a kill cut short is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * bool(cut) + json.dumps(entry) + "\n")


class Results:
    """Lines of a file: what a step of a preset costs, and rows with their figures or the error that they ended with."""

    def __init__(self, path: Path, setup: Setup | None = None):
        self.path, self.setup = path, setup or Setup()

    @property
    def _shared(self) -> dict[str, str]:
        return {"base": self.setup.name, "device": self.setup.device}

    def read(self) -> dict[Row, dict[str, Any]]:
        """The last line of each row that was measured with today's settings on this base and device."""
        rows = {}
        for entry in self._valid():
            try:
                rows[Row(**entry["row"])] = entry
            except (KeyError, TypeError):
                continue
        return rows

    def costs(self) -> dict[str, float]:
        """What a step costs, in steps of `UNIT`, by preset: the first line counts, so no row's steps ever change."""
        costs = dict.fromkeys((UNIT, *SAME_WORK), 1.0)
        for entry in self._valid():
            if "cost" in entry:
                costs.setdefault(entry["preset"], entry["cost"])
        return costs

    def append(self, row: Row, **facts: Any) -> None:
        """Add a row."""
        append_line(self.path, {"row": asdict(row), "digest": digest(row.preset, self.setup), **self._shared, **facts})

    def append_cost(self, preset: str, **facts: Any) -> None:
        """Add what a step of a preset costs."""
        append_line(self.path, {"preset": preset, "digest": digest(preset, self.setup), **self._shared, **facts})

    def has(self, row: Row, commit: str) -> bool:
        """Whether a row need not be trained; one that ended with an error is tried again at another commit."""
        entry = self.read().get(row)
        return entry is not None and ("error" not in entry or entry["commit"] == commit)

    def _valid(self) -> Iterator[dict[str, Any]]:
        for entry in read_lines(self.path):
            preset = entry.get("preset") or entry.get("row", {}).get("preset")
            try:
                valid = self._shared.items() <= entry.items() and entry["digest"] == digest(preset, self.setup)
            except (KeyError, VelaturaError):  # a preset that is no more
                continue
            if valid:
                yield entry
