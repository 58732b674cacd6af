"""Measurements of drafts: small jobs in the queue, which end when no page waits for them."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from app.jobs import actions
from app.jobs.accounts.limits import check_previews
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.devices import wanted_by
from app.jobs.small_jobs import add_small_job
from app.jobs.states import ENDED, State
from app.jobs.store import ESTIMATE
from app.jobs.view import View
from app.language import Sentence
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.names import safe_name, suggest
from app.studio.runs.estimates import Cost, Measured, cost_key, is_as_busy, load_now, pace_in, pace_key, pace_of_run
from app.studio.studio_queue import StudioQueue
from trainers.atomic_files import whole_file
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.runs.run import Run

ATTEMPTS = 3
FILE = "measuring.json"
"""File in a draft's folder with its measurement; its modification time is that of a page's last request."""
LATEST = 10
"""Latest trainings that are searched for a pace if nothing was measured."""
UNSEEN = 300.0
"""Seconds after a page's last request until its measurement ends; hidden pages send none."""


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


@dataclass(frozen=True)
class Measurement:
    """A measurement of a draft."""

    number: int
    """Its job."""
    key: str
    """`cost_key` of its settings."""


class EstimateJobs:
    """At most one measurement per draft, recorded in its folder; all users share the results."""

    def __init__(self, drafts: Drafts, queue: StudioQueue, measured: Measured) -> None:
        self._drafts, self._queue, self._measured = drafts, queue, measured
        self._lock = threading.Lock()
        self._busy_loads: frozenset[float] = frozenset()  # loads of measurements in busy moments

    def sweep(self) -> None:
        """End measurements without a page or a draft."""
        store = self._queue.store
        pending = [job.id for job in (*store.line(), *store.active()) if job.kind == ESTIMATE] if store.exists() else []
        if not pending:
            return
        with self._lock:
            files = self._drafts.paths.drafts.glob(f"*/{FILE}")
            numbers = {file: measurement.number for file in files if (measurement := _read(file))}
            for number in set(pending).difference(numbers.values()):
                self._end(number)
            for path, number in numbers.items():
                if number in pending and abs(time.time() - path.stat().st_mtime) > UNSEEN:
                    self._forget(path.parent.name)

    def begin(self, draft: Draft, config: Config, owner: str, again: bool = False) -> None:
        """Measure a draft, unless it is measured or in progress; `again` measures in any case.

        Raises VelaturaError if this owner may not start it.
        """
        if owner:
            check_previews(config)
        with self._lock:
            key = cost_key(config, len(draft.pictures))
            before = _read(self._file(draft.id))
            if before and not self._is_there(before):
                before = None
            if not again and (self._measured.cost(config, len(draft.pictures)) or self._is_current(before, key)):
                return
            self._forget(draft.id)
            pictures = self._pictures(draft.id)
            shutil.rmtree(pictures, ignore_errors=True)
            self._drafts.write_dataset(draft, pictures)
            data = config.data.model_copy(update={"images": str(pictures.absolute())})
            name = safe_name(draft.name or suggest(draft)) or config.name
            request = config.model_copy(update={"data": data, "name": name})
            job = add_small_job(self._queue.store, ESTIMATE, request, owner, wanted_by(config.train))
            with whole_file(self._file(draft.id)) as building:
                building.write_text(json.dumps(asdict(Measurement(job.id, key))), encoding="utf-8")

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
                shutil.rmtree(self._pictures(draft.id), ignore_errors=True)
            return estimate

    def forget(self, draft: Draft) -> None:
        """Cancel a draft's measurement."""
        with self._lock:
            self._forget(draft.id)

    def _requested(self, draft: Draft) -> Measurement | None:
        """A draft's measurement, which a page requests now."""
        file, now = self._file(draft.id), time.time()
        measurement = _read(file)
        if measurement:
            os.utime(file, (now, now))
        return measurement

    def _forget(self, draft: str) -> None:
        measurement = _read(self._file(draft))
        if measurement is None:
            return
        self._end(measurement.number)
        self._file(draft).unlink(missing_ok=True)
        shutil.rmtree(self._pictures(draft), ignore_errors=True)

    def _is_current(self, before: Measurement | None, key: str) -> bool:
        """Whether a measurement has these settings and still holds."""
        if before is None or before.key != key:
            return False
        try:
            cost = _estimate(self._queue.watcher.view(before.number)).cost
        except VelaturaError:
            return False
        return not (cost and cost.pace) or cost.pace.holds(load_now())

    def _end(self, number: int) -> None:
        """End and delete a measurement, which may begin or end meanwhile."""
        store = self._queue.store
        for _ in range(ATTEMPTS):
            try:
                if self._queue.watcher.view(number).state not in ENDED:
                    actions.stop(store, number, "cancel", actor=MACHINE_OWNER)
                actions.delete(store, number, actor=MACHINE_OWNER)
                return
            except VelaturaError:
                continue  # it ends just now

    def _is_there(self, measurement: Measurement) -> bool:
        return (
            any(job.id == measurement.number for job in self._queue.store.jobs())
            if self._queue.store.exists()
            else False
        )

    def _file(self, draft: str) -> Path:
        return self._drafts.paths.drafts / draft / FILE

    def _pictures(self, draft: str) -> Path:
        return self._drafts.paths.drafts / draft / "measured"


def _read(path: Path) -> Measurement | None:
    """A draft's measurement record; None if unreadable, since measuring again is cheap."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Measurement(int(kept["number"]), str(kept["key"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
