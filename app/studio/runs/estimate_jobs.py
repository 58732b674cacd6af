"""Measurements of drafts."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from app.jobs.accounts.limits import check_previews
from app.jobs.states import ENDED, State
from app.jobs.store import ESTIMATE
from app.jobs.view import View
from app.language import Sentence
from app.studio.dataset.draft_jobs import DraftJob, DraftJobs
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.names import safe_name, suggest
from app.studio.runs.estimates import Cost, Measured, cost_key, is_as_busy, load_now, pace_in, pace_key, pace_of_run
from app.studio.studio_queue import StudioQueue
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.runs.run import Run

LATEST = 10
"""Latest trainings that are searched for a pace if nothing was measured."""
UNSEEN = 300.0


@dataclass(frozen=True)
class Estimate:
    """A draft's estimate."""

    phase: Literal["none", "waiting", "measuring", "measured", "failed"] = "none"
    cost: Cost | None = None
    done: int = 0
    of: int = 0
    sentence: str = ""
    """The error, or the reason for waiting."""
    code: str = ""
    """The failure code, from `trainers.errors`."""
    fresh: bool = False
    """Whether it was measured just now."""

    @property
    def busy(self) -> bool:
        """Whether it is still in progress."""
        return self.phase in ("waiting", "measuring")


class EstimateJobs(DraftJobs):
    """At most one measurement per draft; all users share the results."""

    kind, file, pictures, unseen = ESTIMATE, "measuring.json", "measured", UNSEEN

    def __init__(self, drafts: Drafts, queue: StudioQueue, measured: Measured) -> None:
        super().__init__(drafts, queue)
        self._measured = measured
        self._busy_loads: frozenset[float] = frozenset()  # loads of measurements in busy moments

    def begin(self, draft: Draft, config: Config, owner: str, again: bool = False) -> None:
        """Measure a draft, unless it is measured or in progress; `again` measures in any case.

        Raises VelaturaError if this owner may not start it.
        """
        if owner:
            check_previews(config)
        with self._lock:
            key = cost_key(config, len(draft.pictures))
            before = self._read(draft.id)
            if not again and (self._measured.cost(config, len(draft.pictures)) or self._is_current(before, key)):
                return
            name = safe_name(draft.name or suggest(draft)) or config.name
            self._begin(draft, config.model_copy(update={"name": name}), owner, key)

    def begin_pace(self, draft: Draft, config: Config, owner: str) -> None:
        """Measure a draft, unless its base has a measurement that still holds, or one is in progress."""
        last = self._measured.last(config) or self._learn(config)
        if last and last.pace and last.pace.was_busy:
            self._busy_loads |= {last.pace.load}
        if not (last and last.pace and last.pace.holds(load_now())) and not self.now(draft).busy:
            self.begin(draft, config, owner)

    def stamp(self) -> object:
        """A value that changes once the computer is quieter than during a measurement."""
        now = load_now() if self._busy_loads else 0.0
        return {load for load in self._busy_loads if is_as_busy(load, now)}

    def _learn(self, config: Config) -> Cost | None:
        """The pace of one of the latest trainings on the same base, stored as a measurement."""
        for view in self._queue.runs()[:LATEST]:
            with suppress(OSError, VelaturaError):
                pace = pace_of_run(Run(view.job.folder).config(), view.summary)
                if pace and pace.on == pace_key(config):
                    cost = Cost(0.0, memory=0, file=0, trained=0, pace=pace)
                    self._measured.keep_as(f"run {view.job.name}", cost)
                    return cost
        return None

    def now(self, draft: Draft) -> Estimate:
        """A draft's last estimate, even if its settings have changed since."""
        with self._lock:
            measurement = self._requested(draft)
            if measurement is None:
                return Estimate()
            try:
                estimate = _estimate(self._queue.watcher.view(measurement.number))
            except VelaturaError:
                return Estimate()
            if estimate.cost:
                self._measured.keep_as(measurement.key, estimate.cost)
            return estimate

    def look(self, draft: Draft, config: Config) -> Estimate:
        """A draft's current estimate."""
        known = self._measured.cost(config, len(draft.pictures))
        with self._lock:
            stored = Estimate("measured", known) if known else Estimate()
            measurement = self._requested(draft)
            if measurement is None or measurement.key != cost_key(config, len(draft.pictures)):
                return stored
            try:
                view = self._queue.watcher.view(measurement.number)
            except VelaturaError:  # the queue was cleared
                return stored
            estimate = _estimate(view)
            if estimate.cost and estimate.cost != known:
                self._measured.keep(config, len(draft.pictures), estimate.cost)
            if not estimate.busy:
                shutil.rmtree(self._dataset(draft.id), ignore_errors=True)
            return estimate

    def _is_current(self, before: DraftJob | None, key: str) -> bool:
        """Whether a measurement has these settings and still holds."""
        if before is None or before.key != key:
            return False
        try:
            cost = _estimate(self._queue.watcher.view(before.number)).cost
        except VelaturaError:
            return False
        return not (cost and cost.pace) or cost.pace.holds(load_now())


def _estimate(view: View) -> Estimate:
    summary, facts = view.summary, dict(view.summary.facts)
    if view.state == State.FINISHED and "seconds" in facts:
        sizes = {key: int(facts.get(key, 0)) for key in ("memory", "file", "free")}
        cost = Cost(
            float(facts["seconds"]),
            trained=int(facts["parameters"]),
            at_most=bool(facts.get("at_most")),
            pace=pace_in(facts),
            card=facts.get("card", ""),
            **sizes,
        )
        return Estimate("measured", cost, of=int(facts.get("measured", 0)), fresh=True)
    if view.state == State.QUEUED:
        return Estimate("waiting", sentence=view.line)
    if view.state in ENDED:
        return Estimate("failed", sentence=Sentence.of(summary.message or view.line), code=summary.code)
    return Estimate("measuring", done=summary.share[0], of=summary.share[1], sentence=summary.message)
