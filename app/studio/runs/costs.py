"""Stored estimates of this computer, by settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.state_file import StateFile
from app.studio.paths import Paths
from app.studio.runs.pace import Pace, ground_of, load_now, read_pace
from trainers.config.build import as_table
from trainers.config.config import Config
from trainers.data.subjects import COUNT
from trainers.messages import from_record

MOST_KEPT = 500
A_PICTURE = 4 * 2**20
"""Approximate maximum bytes of a picture and its derived files."""
WITHOUT = ("name", "seed", "save")
"""Settings that do not affect the cost."""


@dataclass(frozen=True)
class Cost:
    """The cost of a run: seconds, bytes of memory and of the style file; `trained` parameters, `free` memory before."""

    seconds: float
    memory: int
    file: int
    trained: int
    free: int = 0
    at_most: bool = False
    """Whether the file may be smaller (methods that adapt their rank)."""
    pace: Pace | None = None
    """None in measurements of earlier versions."""
    card: Any = ""
    """Record of the line that says which graphics card a run on a transformer fits, as computed; "" without."""

    @property
    def fits(self) -> str:
        """That line."""
        try:
            return from_record(self.card)
        except ValueError:
            return ""

    def disk(self, config: Config, pictures: int) -> int:
        """Approximate disk space of a run: checkpoints with optimizer state, file, snapshots, and pictures."""
        checkpoint, files = self.trained * 12, 1 + count_sampled(config)
        return (
            files * self.file + (config.save.keep + 1) * checkpoint + (pictures + config.prior.image_count) * A_PICTURE
        )


@dataclass(frozen=True)
class RunTime:
    """How long a run takes."""

    seconds: float
    is_estimate: bool
    """Whether it is scaled from a measurement of other settings."""


class Measured:
    """This computer's measurements, stored in one file."""

    def __init__(self, paths: Paths) -> None:
        self._file = StateFile(paths.root / "measured.json", _parse, _dump)

    def keep(self, config: Config, pictures: int, cost: Cost) -> None:
        """Store the cost of a run with these settings and number of pictures."""
        self.keep_as(cost_key(config, pictures), cost)

    def keep_as(self, key: str, cost: Cost) -> None:
        """Store a cost under a key of `cost_key`."""
        with self._file.lock():
            known = self._file.read() or {}
            if known.get(key) == cost:
                return
            known.pop(key, None)
            known[key] = cost
            self._file.write({each: known[each] for each in list(known)[-MOST_KEPT:]})

    def cost(self, config: Config, pictures: int) -> Cost | None:
        """The stored cost for these settings and number of pictures; None if unknown, or measured in a busier moment
        than this one."""
        found = (self._file.read() or {}).get(cost_key(config, pictures))
        return None if found and found.pace and not found.pace.holds(load_now()) else found

    def time(self, config: Config, pictures: int) -> RunTime | None:
        """The time of a run as measured, or scaled from the newest measurement on its base; None without one."""
        if cost := self.cost(config, pictures):
            return RunTime(cost.seconds, is_estimate=False)
        last = self.last(config)
        return RunTime(last.pace.seconds(config), is_estimate=True) if last and last.pace else None

    def seconds(self, config: Config, pictures: int) -> float | None:
        """The seconds of that time."""
        time = self.time(config, pictures)
        return time.seconds if time else None

    def last(self, config: Config) -> Cost | None:
        """The newest measurement on the same base, which other settings can be scaled from; None without one."""
        known, ground = self._file.read() or {}, ground_of(config)
        return next((cost for cost in reversed(known.values()) if cost.pace and cost.pace.on == ground), None)


def _parse(content: bytes) -> dict[str, Cost]:
    try:
        return {key: _cost(value) for key, value in json.loads(content).items()}
    except (AttributeError, TypeError) as error:
        raise ValueError("it has no costs") from error


def _cost(value: Mapping[str, Any]) -> Cost:
    return Cost(**{**value, "pace": read_pace(value.get("pace"))})


def _dump(known: dict[str, Cost]) -> str:
    return json.dumps({key: asdict(cost) for key, cost in known.items()})


def count_sampled(config: Config) -> int:
    """Steps of a run between the first and the last at which it is sampled."""
    every = config.sample.interval(config.train.steps)
    return (config.train.steps - 1) // every if every else 0


def _prompts(config: Config, pictures: int) -> int:
    """Number of preview prompts that a run with so many pictures chooses."""
    return min(COUNT, pictures) if config.sample.subjects == "captions" else COUNT


def cost_key(config: Config, pictures: int) -> str:
    """A key of settings that determine the cost."""
    table = {key: value for key, value in as_table(config).items() if key not in WITHOUT}
    table["data"] = {key: value for key, value in table["data"].items() if key not in ("images", "trigger")}
    table["sample"] = table["sample"] | {"prompts": len(config.sample.prompts) or _prompts(config, pictures)}
    table["save"] = config.save.precision
    return hashlib.sha256(json.dumps([table, pictures], sort_keys=True).encode()).hexdigest()[:24]
