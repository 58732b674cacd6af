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

from trainers.config.presets import STARTER, find_preset, list_presets
from trainers.config.sections import Train
from trainers.config.tables import overlay
from trainers.models.files.source import starter_folder

RESULTS = Path(__file__).parents[1] / "styles.jsonl"
BASE = "base"
"""Instead of a preset: the bare base, and the truth once through the autoencoder."""
STYLES = ("black-line", "blob")
FIRST_SEED = 1
STEPS = 200
STOPS = ("quick", "balanced", "faithful")
"""The presets among which the studio asks to choose first. They differ in steps too, and train as many as they have."""
TRIGGER = "sks"
"""The word that a preset with class images is given: without one, nothing tells the style from the class."""
SCHEDULE: Mapping[str, Any] = MappingProxyType({"batch_size": 4, "device": "cpu", "precision": "fp32"})


@dataclass(frozen=True)
class Row:
    """One training: a preset on a style at a learning rate (0 for the bare base), with a seed and a number of steps."""

    preset: str
    style: str
    rate: float = 0.0
    seed: int = FIRST_SEED
    steps: int = STEPS

    @property
    def name(self) -> str:
        """What its files are called: settings that changed give another name."""
        return "-".join((self.preset, self.style, f"{self.rate:g}", str(self.seed), digest(self)))


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
    """The row's settings but for name, seed and images: the preset's for the starter, at the row's learning rate."""
    short = {"train": {"steps": row.steps, **SCHEDULE}}
    if row.preset == BASE:
        return short
    table = overlay(find_preset(row.preset).settings_for(STARTER), short)
    if "prior" in table:
        table = overlay(table, {"data": {"trigger": TRIGGER}})
    return at_rate(table, row.rate)


def steps_of(preset: str, steps: int = STEPS) -> int:
    """The steps of a preset's rows: its own on the starter if it is one of `STOPS`."""
    return int(find_preset(preset).settings_for(STARTER)["train"]["steps"]) if preset in STOPS else steps


def own_rate(preset: str) -> float:
    """The learning rate that a preset has on the starter."""
    return _rate(find_preset(preset).settings_for(STARTER))


def at_rate(table: Mapping[str, Any], rate: float) -> dict[str, Any]:
    """The table at a learning rate, every other rate in it in proportion."""
    share = rate / _rate(table)

    def scaled(part: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: scaled(value)
            if isinstance(value, Mapping)
            else rounded(value * share)
            if key.endswith("learning_rate")
            else value
            for key, value in part.items()
        }

    found = scaled({key: value for key, value in table.items() if key != "targets"})  # there they are ratios
    return overlay({**table, **found}, {"train": {"learning_rate": rate}})


def rounded(rate: float) -> float:
    """A learning rate with three digits."""
    return float(f"{rate:.3g}")


def _rate(table: Mapping[str, Any]) -> float:
    return float(table.get("train", {}).get("learning_rate", Train().learning_rate))


IDLE: Mapping[str, Any] = MappingProxyType({"sample": ("steps", "sampler"), "data": ("read_trigger",)})
"""Settings that change no figure: every row is drawn with the same ones, and none has a trigger word to leave out."""


@cache
def base_hash() -> str:
    """SHA-256 of the starter's denoiser, read once."""
    from trainers.models.load import hash_files

    return hash_files([starter_folder() / "unet" / "diffusion_pytorch_model.safetensors"])


@cache
def digest(row: Row) -> str:
    """Short hash of a row's settings and of the base: rows of older ones do not count any more."""
    table = settings(row)
    for section in IDLE.keys() & table.keys():
        kept = {key: value for key, value in table.pop(section).items() if key not in IDLE[section]}
        table |= {section: kept} if kept or section == "sample" else {}
    return hashlib.sha256(json.dumps([table, base_hash()], sort_keys=True).encode()).hexdigest()[:10]


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
    """Lines of a file, each a row with its figures, or with the error that it ended with."""

    def __init__(self, path: Path):
        self.path = path

    def read(self, steps: int = STEPS) -> dict[Row, dict[str, Any]]:
        """The last line of each row with today's settings on today's base; half a line is passed over."""
        known = {BASE, *(preset.name for preset in list_presets())}
        found = {}
        for entry in read_lines(self.path):
            try:
                row = Row(**entry["row"])
            except (KeyError, TypeError):
                continue
            if row.preset in known and row.steps == steps_of(row.preset, steps) and entry.get("digest") == digest(row):
                found[row] = entry
        return found

    def append(self, row: Row, **facts: Any) -> None:
        """Add a line."""
        append_line(self.path, {"row": asdict(row), "digest": digest(row), "base": base_hash()[:8], **facts})

    def has(self, row: Row, commit: str) -> bool:
        """Whether a row need not be trained; one that ended with an error is tried again at another commit."""
        entry = self.read(row.steps).get(row)
        return entry is not None and ("error" not in entry or entry["commit"] == commit)
