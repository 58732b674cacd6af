"""Stored estimates of this computer, by settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from app.state_file import StateFile
from app.studio.dataset.drafts import Draft
from app.studio.paths import Paths
from app.studio.settings.plan import CARE, choose, plan
from trainers.config.build import as_table
from trainers.config.config import Config
from trainers.data.subjects import COUNT
from trainers.errors import VelaturaError

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

    def disk(self, config: Config, pictures: int) -> int:
        """Approximate disk space of a run: checkpoints with optimizer state, file, snapshots, and pictures."""
        checkpoint, files = self.trained * 12, 1 + count_sampled(config)
        return (
            files * self.file + (config.save.keep + 1) * checkpoint + (pictures + config.prior.image_count) * A_PICTURE
        )


class Measured:
    """This computer's measurements, stored in one file."""

    def __init__(self, paths: Paths) -> None:
        self._file = StateFile(paths.root / "measured.json", _parse, _dump)

    def keep(self, config: Config, pictures: int, cost: Cost) -> None:
        """Store the cost of a run with these settings and number of pictures."""
        with self._file.lock():
            known = self._file.read() or {}
            known.pop(key := cost_key(config, pictures), None)
            known[key] = cost
            self._file.write({each: known[each] for each in list(known)[-MOST_KEPT:]})

    def cost(self, config: Config, pictures: int) -> Cost | None:
        """The stored cost for these settings and number of pictures; None if unknown."""
        return (self._file.read() or {}).get(cost_key(config, pictures))

    def costs(self, draft: Draft) -> dict[str, Cost]:
        """Stored costs by preset, with the draft's other settings."""
        costs = {}
        for name in CARE:
            try:
                config = plan(draft if name == draft.choices.preset else choose(draft, "preset", name))
            except VelaturaError:
                continue
            if cost := self.cost(config, len(draft.pictures)):
                costs[name] = cost
        return costs


def _parse(content: bytes) -> dict[str, Cost]:
    try:
        return {key: Cost(**value) for key, value in json.loads(content).items()}
    except (AttributeError, TypeError) as error:
        raise ValueError("it has no costs") from error


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
