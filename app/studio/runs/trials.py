"""Trials of drafts: each of the three presets is trained for about a minute in the background, and draws a picture."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.jobs.states import ENDED, State
from app.jobs.store import TRIAL
from app.studio.dataset.draft_jobs import DraftJobs
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.previews import PART_SIDE, save_preview
from app.studio.progress import OnProgress
from app.studio.runs.estimates import Measured, reporting
from app.studio.settings.plan import STOPS, UNNAMED, drafts_by_preset, plan
from app.studio.settings.prompts import suggested_prompts
from app.studio.studio_queue import StudioQueue
from trainers.config.build import as_table, build_config
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.messages import Message as _

SECONDS = 60.0
"""Seconds in which the steps of a trial should fit."""
LONGEST = 1.5 * SECONDS
"""Seconds after which it draws with the steps that it has taken, unless these are too few."""
LEAST_STEPS = 40
"""A trial of fewer steps shows nothing of a style."""
TICK = 5.0
"""Seconds between two requests of a page while a trial is in the queue."""
UNSEEN = 4 * TICK
PICTURE = "trial.webp"
"""File of the picture in the folder of a trial's job."""
KEPT = "trial-{}.webp"
"""Name of the picture among a draft's previews, with its preset, the state of the draft, and its first picture."""
TRYING = _("Training for about a minute …")


@dataclass(frozen=True)
class Trial:
    """The picture of a trial."""

    path: Path
    is_current: bool
    """Whether the draft is still as it was."""


class Trials(DraftJobs):
    """At most one trial in a studio, since each begins only while the queue is empty."""

    kind, file, pictures, unseen = TRIAL, "trying.json", "tried", UNSEEN

    def __init__(self, drafts: Drafts, queue: StudioQueue, measured: Measured) -> None:
        super().__init__(drafts, queue)
        self._measured = measured
        self._is_awaited = False
        self.refuses: Callable[[str], bool] = lambda _owner: False
        """Whether an account may begin none."""

    def sweep(self) -> None:
        """End trials without a page or a draft."""
        super().sweep()
        self._is_awaited = self._is_awaited and bool(self._pending())

    def stamp(self) -> object:
        """A value that changes every few seconds while a trial is in the queue, so that its page requests it."""
        return int(time.monotonic() / TICK) if self._is_awaited else 0

    def look(self, draft: Draft) -> dict[str, Trial]:
        """The pictures by preset, outdated ones too as long as the draft has the picture that was its first."""
        return self._look(draft, _configs(draft))

    def _look(self, draft: Draft, configs: Mapping[str, Config]) -> dict[str, Trial]:
        if not draft.pictures:
            return {}
        with self._lock:
            self._keep_finished(draft)
        current, trials = set(configs), {}
        for name in STOPS:
            for path in self._drafts.previews(draft).glob(KEPT.format(f"{name}-*")):
                key = path.stem.partition("-")[2]
                if key in current or draft.picture(key.rpartition("-")[2]):
                    trials[name] = Trial(path, key in current)
        return trials

    def go_on(self, draft: Draft, owner: str) -> bool:
        """Begin the next missing trial if the device is free; returns whether one is awaited.

        After a failed or cancelled one, none begins until the draft changes.
        """
        missing = self._missing(draft)
        with self._lock:
            job = self._requested(draft)
            if job and (job.key not in missing or self._state(job.number) is None):
                self._forget(draft.id)
                job = None
            if job:
                if self._state(job.number) in {*ENDED} - {State.FINISHED}:
                    shutil.rmtree(self._dataset(draft.id), ignore_errors=True)
                    return False
                self._is_awaited = True
                return True
            if not missing or self.refuses(owner):
                return False
            now = self._queue.activity()
            if now.is_known and now.view is None and not now.waiting:
                key, config = next(iter(missing.items()))
                try:
                    self._begin(draft, config, owner, key)
                except (OSError, VelaturaError):  # nobody has asked for it
                    return False
                self._is_awaited = True
            return True

    def can_go_on(self, draft: Draft) -> bool:
        """Whether a trial is missing whose steps fit."""
        return bool(self._missing(draft))

    def _missing(self, draft: Draft) -> dict[str, Config]:
        """The configs of trials without a current picture, by key."""
        configs, missing = _configs(draft), {}
        current = {trial.path.name for trial in self._look(draft, configs).values() if trial.is_current}
        for key, config in configs.items():
            if KEPT.format(key) not in current and (brief := self._shortened(config)):
                missing[key] = brief
        return missing

    def _shortened(self, config: Config) -> Config | None:
        """The config with the steps that fit; None if these are too few, or if this computer was not measured or was
        busy with other programs."""
        last = self._measured.last(config)
        pace = last.pace if last else None
        fits = int(SECONDS / max(pace.step_with(config), 1e-6)) if pace and not pace.was_busy else 0
        steps = min(config.train.steps, fits)
        train = {"steps": steps, "warmup": config.train.warmup * steps // config.train.steps}
        with suppress(VelaturaError):
            if fits >= LEAST_STEPS:
                return build_config(as_table(config), {"train": train, "save": {"every": steps}})
        return None

    def _keep_finished(self, draft: Draft) -> None:
        """Take the picture of a finished trial, in place of the last one of its preset."""
        job = self._read(draft.id)
        if job is None or self._state(job.number) != State.FINISHED:
            return
        previews = self._drafts.previews(draft)
        for earlier in previews.glob(KEPT.format(f"{job.key.partition('-')[0]}-*")):
            earlier.unlink(missing_ok=True)
        with suppress(OSError, VelaturaError):
            shutil.move(self._queue.store.job(job.number).folder / PICTURE, previews / KEPT.format(job.key))
            self._forget(draft.id)

    def _state(self, number: int) -> State | None:
        try:
            return self._queue.watcher.view(number).state
        except VelaturaError:  # the queue was cleared
            return None


def prompt_of(draft: Draft) -> str:
    """The prompt of a draft's trials; a run that draws from captions alone may have none."""
    return (draft.prompts or suggested_prompts(draft) or suggested_prompts(draft, "new"))[0]


def draw_trial(config: Config, folder: Path, on_progress: OnProgress) -> None:
    """Train for about a minute, and write a small picture into `folder`."""
    from trainers.training.briefly import PREFIX, try_out

    for killed in folder.glob(f"{PREFIX}*"):
        shutil.rmtree(killed, ignore_errors=True)
    listener, steps = reporting(on_progress, TRYING, config.train.steps), min(LEAST_STEPS, config.train.steps)
    picture = try_out(config, LONGEST, steps, listener, folder)
    save_preview(picture, folder / PICTURE, PART_SIDE)


def _configs(draft: Draft) -> dict[str, Config]:
    """The configs of the presets by key, without invalid ones and those that draw class images first."""
    drafts, configs, sample = drafts_by_preset(draft), {}, {"prompts": [prompt_of(draft)]}
    for name in STOPS:
        with suppress(VelaturaError):
            config = plan(drafts[name], name=UNNAMED, sample=sample)
            if not config.prior.image_count:
                configs[_key(draft, name, config)] = config
    return configs


def _key(draft: Draft, name: str, config: Config) -> str:
    """A key of all that a trial depends on."""
    pictures = [
        picture.model_dump(include={"id", "name", "caption", "crop", "mask", "rotation"}) for picture in draft.pictures
    ]
    state = json.dumps([as_table(config), pictures], sort_keys=True)
    first = draft.pictures[0].id if draft.pictures else ""
    return f"{name}-{hashlib.sha256(state.encode()).hexdigest()[:16]}-{first}"
