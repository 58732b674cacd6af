"""The cost of runs on this computer: measured with a few real steps, stored, and scaled to other settings on its base.

The work of a step, by which its seconds scale, is relative to a bare network on one image, from the medians of
docs/speed.md.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from app.jobs.events.summary import Summary
from app.state_file import StateFile
from app.studio.dataset.drafts import Draft
from app.studio.paths import Paths
from app.studio.progress import OnProgress, quiet
from app.studio.settings.plan import plan
from trainers.config.build import as_table
from trainers.config.config import Config
from trainers.data.subjects import COUNT
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.messages import from_record, to_record

if TYPE_CHECKING:
    from trainers.runs.event_lines import Event
    from trainers.runs.events import Listener
    from trainers.training.estimate import Estimate

MEASURING = _("Trying a few steps, to measure the time …")
MOST_KEPT = 500
A_PICTURE = 4 * 2**20
"""Approximate maximum bytes of a picture and its derived files."""
WITHOUT = ("name", "seed", "save")
"""Settings that do not affect the cost."""
EXTRA_OF_LAYERS: Mapping[str, float] = {"none": 0.0, "attn": 0.03, "attn-mlp": 0.07}
"""Work that plain LoRA adds to a step on these layers."""
EXTRA_OF_ALL = 0.14
"""Work that it adds on more layers."""
TIMES_OF_METHOD: Mapping[str, float] = {"lora": 1.0, "lokr": 1.8, "loha": 2.4}
"""Added work of other methods, relative to plain LoRA's."""
TIMES_OF_OTHERS = 2.0
CHECKPOINTING = 4 / 3
"""Factor of gradient checkpointing, which computes activations twice."""
BUSY = 0.6
"""Load per core from which a computer counts as busy with other work."""


@dataclass(frozen=True)
class Pace:
    """The measured speed of a run."""

    on: str
    """`pace_key` of its settings."""
    work: float
    """Work of one step."""
    step: float
    """Seconds of one step."""
    once: float
    """Seconds of all but the steps: reading the base, previews, the file."""
    at: float
    """Seconds since the epoch."""
    load: float
    """Load of the cores by other programs before; 1 is all of them."""

    @property
    def was_busy(self) -> bool:
        """Whether other programs slowed it down."""
        return self.load > BUSY

    def holds(self, load: float) -> bool:
        """Whether it still holds at this load; a pace from a busy moment does not hold in a calm one."""
        return not self.was_busy or is_as_busy(self.load, load)

    def seconds(self, config: Config) -> float:
        """Seconds of a run with other settings on the same base."""
        return self.once + config.train.steps * self.step_with(config)

    def step_with(self, config: Config) -> float:
        """Seconds of a step with other settings on the same base."""
        return self.step * work_of(config) / self.work


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
    """The speed; None in measurements of earlier versions."""
    card: Any = ""
    """Record of the line about the graphics card that a run on a transformer needs; empty without one."""

    @property
    def fits(self) -> str:
        """The line about the graphics card."""
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
    """The duration of a run."""

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
        """The stored cost for these settings and number of pictures; None without one whose pace still holds."""
        cost = (self._file.read() or {}).get(cost_key(config, pictures))
        return None if cost and cost.pace and not cost.pace.holds(load_now()) else cost

    def time(self, config: Config, pictures: int) -> RunTime | None:
        """The measured time of a run, or one scaled from the newest measurement on its base; None without any."""
        if cost := self.cost(config, pictures):
            return RunTime(cost.seconds, is_estimate=False)
        last = self.last(config)
        return RunTime(last.pace.seconds(config), is_estimate=True) if last and last.pace else None

    def seconds(self, config: Config, pictures: int) -> float | None:
        """The seconds of `time`."""
        duration = self.time(config, pictures)
        return duration.seconds if duration else None

    def times(self, drafts: Mapping[str, Draft]) -> dict[str, RunTime]:
        """The times of drafts by name, without invalid drafts and unmeasured bases."""
        times: dict[str, RunTime] = {}
        for name, draft in drafts.items():
            try:
                duration = self.time(plan(draft, name="style"), len(draft.pictures))
            except VelaturaError:
                continue
            if duration is not None:
                times[name] = duration
        return times

    def last(self, config: Config) -> Cost | None:
        """The newest measurement that can be scaled to these settings; None without one."""
        known, key = self._file.read() or {}, pace_key(config)
        return next((cost for cost in reversed(known.values()) if cost.pace and cost.pace.on == key), None)


def _parse(content: bytes) -> dict[str, Cost]:
    try:
        return {
            key: Cost(**{**value, "pace": read_pace(value.get("pace"))}) for key, value in json.loads(content).items()
        }
    except (AttributeError, TypeError) as error:
        raise ValueError("it has no costs") from error


def _dump(known: dict[str, Cost]) -> str:
    return json.dumps({key: asdict(cost) for key, cost in known.items()})


def measure_config(config: Config, on_progress: OnProgress = quiet) -> Estimate:
    """Measure a run, and report progress and an event `estimate`."""
    from trainers.planning.plan import smallest_card
    from trainers.training.estimate import STEPS, measure

    load = load_now()
    estimate = measure(config, reporting(on_progress, MEASURING, min(STEPS, config.train.steps)))
    numbers = asdict(replace(estimate, cards=())) | {"cards": list(estimate.cards)}
    card = to_record(smallest_card(estimate.cards))
    on_progress("estimate", **numbers, card=card, **circumstances(config, estimate.device, load))
    return estimate


def reporting(on_progress: OnProgress, message: str, steps: int) -> Listener:
    """A listener that reports the progress of so many steps."""
    from trainers.models.files.source import base_name

    done = 0

    def listen(event: Event) -> None:
        nonlocal done
        if event["type"] == "loading":
            on_progress("working", message=_("Reading the base model {base} …", base=base_name(event["base"])))
        elif event["type"] in ("step", "skipped"):
            done += 1
            on_progress("working", message=message, done=done, of=steps)

    return listen


def circumstances(config: Config, device: str, load: float) -> dict[str, Any]:
    """Fields of an event `estimate` besides its numbers, from which other runs can be scaled."""
    on_cpu = device.startswith("cpu")  # other devices hardly notice what the cores do
    return {"on": pace_key(config), "work": work_of(config), "at": time.time(), "load": load if on_cpu else 0.0}


def pace_in(facts: Mapping[str, Any]) -> Pace | None:
    """The pace in the fields of an event `estimate`, if any."""
    try:
        step = float(facts["seconds_a_step"])
        once = max(0.0, float(facts["seconds"]) - int(facts["steps"]) * step)
        return read_pace({**facts, "step": step, "once": once})
    except (KeyError, TypeError, ValueError):
        return None


def pace_of_run(config: Config, summary: Summary) -> Pace | None:
    """The pace of a training so far; None if it has not timed a step."""
    if not summary.speed or summary.left is None:
        return None
    step, duration = 1 / summary.speed, summary.seconds + summary.left
    once = max(0.0, duration - summary.steps * step)
    return Pace(pace_key(config), work_of(config), step, once, summary.time, load=0.0)


def read_pace(table: Any) -> Pace | None:
    """The pace in a stored table, if any."""
    try:
        numbers = {name: float(table[name]) for name in ("work", "step", "once", "at", "load")}
        return Pace(on=str(table["on"]), **numbers) if numbers["work"] > 0 else None
    except (KeyError, TypeError, ValueError):
        return None


def cost_key(config: Config, pictures: int) -> str:
    """A key of settings that determine the cost."""
    table = {key: value for key, value in as_table(config).items() if key not in WITHOUT}
    table["data"] = {key: value for key, value in table["data"].items() if key not in ("images", "trigger")}
    prompts = len(config.sample.prompts) or (min(COUNT, pictures) if config.sample.subjects == "captions" else COUNT)
    table["sample"] = table["sample"] | {"prompts": prompts, "thirds": True}  # earlier versions drew fewer
    table["save"] = config.save.precision
    return hashlib.sha256(json.dumps([table, pictures], sort_keys=True).encode()).hexdigest()[:24]


def pace_key(config: Config) -> str:
    """A key of settings that cannot be scaled: base, device and size of the pictures."""
    base, train = config.base, config.train
    shared = (train.devices,) if train.devices > 1 else ()
    return "|".join(
        map(str, (base.model, base.storage, config.data.resolution, train.device, train.precision, *shared))
    )


def work_of(config: Config) -> float:
    """Work of one step, in passes of one image through the bare network and back."""
    train, targets = config.train, config.targets
    chosen = targets.transformer or targets.unet
    preset = chosen if isinstance(chosen, str) else ""
    extra = EXTRA_OF_LAYERS.get(preset, EXTRA_OF_ALL) * TIMES_OF_METHOD.get(config.method.name, TIMES_OF_OTHERS)
    passes = 1 + extra + (0.1 if targets.text_encoder != "none" else 0.0)
    return passes * train.batch_size * train.accumulation * (CHECKPOINTING if train.gradient_checkpointing else 1.0)


def count_sampled(config: Config) -> int:
    """Number of sampled steps between the first and the last."""
    every = config.sample.interval(config.train.steps)
    return (config.train.steps - 1) // every if every else 0


def is_as_busy(before: float, now: float) -> bool:
    """Whether the computer's load is still about that of a measurement."""
    return now > before / 2


def load_now() -> float:
    """The load of this computer's cores over the last minute; 1 is all of them."""
    import psutil

    return float(psutil.getloadavg()[0]) / (psutil.cpu_count() or 1)
