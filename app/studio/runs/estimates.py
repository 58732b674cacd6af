"""What was measured on this computer: by the settings it was measured with, for whoever has the same again."""

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
from trainers.errors import VelaturaError

MOST_KEPT = 500
CAPTIONS_DRAWN = 4
"""Captions that are drawn where no prompts are given."""
A_PICTURE = 4 * 2**20
"""Bytes that a picture and what is kept of it take, at most about."""
WITHOUT = ("name", "seed", "save")
"""Settings that cost nothing."""


@dataclass(frozen=True)
class Cost:
    """What a run takes: seconds, bytes of memory and of the style file; `trained` numbers, `free` memory before."""

    seconds: float
    memory: int
    file: int
    trained: int
    free: int = 0
    at_most: bool = False
    """Whether the file may be smaller, of a method that moves its rank."""

    def disk(self, config: Config, pictures: int) -> int:
        """About how many bytes a run leaves: checkpoints with the optimizer's state, the file, and its pictures."""
        checkpoint = self.trained * 12
        return self.file + (config.save.keep + 1) * checkpoint + (pictures + config.prior.drawn) * A_PICTURE


class Measured:
    """The measurements that this computer has made, kept in one file."""

    def __init__(self, paths: Paths) -> None:
        self._file = StateFile(paths.root / "measured.json", _parse, _dump)

    def keep(self, config: Config, pictures: int, cost: Cost) -> None:
        """Remember what a run with these settings and so many pictures takes."""
        with self._file.lock():
            known = self._file.read() or {}
            known.pop(key := cost_key(config, pictures), None)
            known[key] = cost
            self._file.write({each: known[each] for each in list(known)[-MOST_KEPT:]})

    def cost(self, config: Config, pictures: int) -> Cost | None:
        """What was measured for these settings and so many pictures; None where nothing was."""
        return (self._file.read() or {}).get(cost_key(config, pictures))

    def costs(self, draft: Draft) -> dict[str, Cost]:
        """By preset, what was measured with everything else as the draft has it."""
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
        raise ValueError("it holds no costs") from error


def _dump(known: dict[str, Cost]) -> str:
    return json.dumps({key: asdict(cost) for key, cost in known.items()})


def cost_key(config: Config, pictures: int) -> str:
    """What makes two runs cost the same."""
    table = {key: value for key, value in as_table(config).items() if key not in WITHOUT}
    table["data"] = {key: value for key, value in table["data"].items() if key not in ("images", "trigger")}
    table["sample"] = table["sample"] | {"prompts": len(config.sample.prompts) or min(CAPTIONS_DRAWN, pictures)}
    table["save"] = config.save.precision
    return hashlib.sha256(json.dumps([table, pictures], sort_keys=True).encode()).hexdigest()[:24]
