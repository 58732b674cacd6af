"""Estimate jobs for drafts: a small job in the queue for as long as a page waits for it."""

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
"""File in a draft's folder: the measuring job and its settings. Its time is that of a page's last look."""
LATEST = 10
"""Trainings whose pace is asked for where nothing was measured."""
UNSEEN = 300.0
"""Seconds after a page's last look in which a measurement goes on: hidden pages do not look."""


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
class Asked:
    """A measurement: its job and its settings."""

    number: int
    key: str


class EstimateJobs:
    """At most one measurement per draft, recorded in its folder; results are shared by everybody."""

    def __init__(self, drafts: Drafts, queue: StudioQueue, measured: Measured) -> None:
        self._drafts, self._queue, self._measured = drafts, queue, measured
        self._lock = threading.Lock()
        self._busy_loads: frozenset[float] = frozenset()  # of measurements in busy moments

    def sweep(self) -> None:
        """End measurements whose page has gone, and those without a draft."""
        store = self._queue.store
        pending = [job.id for job in (*store.line(), *store.active()) if job.kind == ESTIMATE] if store.exists() else []
        if not pending:
            return
        with self._lock:
            asked = {
                path: found.number for path in self._drafts.paths.drafts.glob(f"*/{FILE}") if (found := _read(path))
            }
            for number in set(pending).difference(asked.values()):
                self._end(number)
            for path, number in asked.items():
                if number in pending and abs(time.time() - path.stat().st_mtime) > UNSEEN:
                    self._forget(path.parent.name)

    def begin(self, draft: Draft, config: Config, owner: str, again: bool = False) -> None:
        """Measure a draft, unless it is measured or in progress; `again` measures in any case.

        VelaturaError if it is more than this owner may start.
        """
        if owner:
            check_previews(config)
        with self._lock:
            key = cost_key(config, len(draft.pictures))
            before = _read(self._file(draft.id))
            if before and not self._is_there(before):
                before = None
            if not again and (self._measured.cost(config, len(draft.pictures)) or self._answers(before, key)):
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
                building.write_text(json.dumps(asdict(Asked(job.id, key))), encoding="utf-8")

    def begin_pace(self, draft: Draft, config: Config, owner: str) -> None:
        """Measure a draft, unless a measurement of its base that still holds is there, or one is in progress."""
        last = self._measured.last(config) or self._learn(config)
        if last and last.pace and last.pace.was_busy:
            self._busy_loads |= {last.pace.load}
        if not (last and last.pace and last.pace.holds(load_now())) and not self.now(draft).busy:
            self.begin(draft, config, owner)

    def stamp(self) -> object:
        """Another value once the computer is quieter than in the busy moment of a measurement."""
        now = load_now() if self._busy_loads else 0.0
        return {load for load in self._busy_loads if is_as_busy(load, now)}

    def _learn(self, config: Config) -> Cost | None:
        """The pace of one of the latest trainings on the same base, kept as a measurement."""
        for view in self._queue.runs()[:LATEST]:
            with suppress(OSError, VelaturaError):
                pace = pace_of_run(Run(view.job.folder).config(), view.summary)
                if pace and pace.on == pace_key(config):
                    cost = Cost(0.0, memory=0, file=0, trained=0, pace=pace)
                    self._measured.keep_as(f"run {view.job.name}", cost)
                    return cost
        return None

    def now(self, draft: Draft) -> Estimate:
        """A draft's last measurement, whatever its settings have become since."""
        with self._lock:
            asked = self._asked(draft)
            try:
                found = _estimate(self._queue.watcher.view(asked.number)) if asked else Estimate()
            except VelaturaError:
                return Estimate()
            if asked and found.cost:
                self._measured.keep_as(asked.key, found.cost)
            return found

    def look(self, draft: Draft, config: Config) -> Estimate:
        """A draft's current estimate."""
        known = self._measured.cost(config, len(draft.pictures))
        with self._lock:
            asked = self._asked(draft)
            if asked is None or asked.key != cost_key(config, len(draft.pictures)):
                return Estimate("measured", known) if known else Estimate()
            try:
                view = self._queue.watcher.view(asked.number)
            except VelaturaError:  # somebody has cleared the queue
                return Estimate("measured", known) if known else Estimate()
            found = _estimate(view)
            if found.cost and found.cost != known:
                self._measured.keep(config, len(draft.pictures), found.cost)
            if not found.busy:
                shutil.rmtree(self._pictures(draft.id), ignore_errors=True)
            return found

    def forget(self, draft: Draft) -> None:
        """Cancel a measurement that nobody needs any longer."""
        with self._lock:
            self._forget(draft.id)

    def _asked(self, draft: Draft) -> Asked | None:
        """A draft's measurement, at which a page looks now."""
        file, now = self._file(draft.id), time.time()
        asked = _read(file)
        if asked:
            os.utime(file, (now, now))
        return asked

    def _forget(self, draft: str) -> None:
        asked = _read(self._file(draft))
        if asked is None:
            return
        self._end(asked.number)
        self._file(draft).unlink(missing_ok=True)
        shutil.rmtree(self._pictures(draft), ignore_errors=True)

    def _answers(self, before: Asked | None, key: str) -> bool:
        """Whether a measurement answers what is asked; not if it was made in a busier moment."""
        if before is None or before.key != key:
            return False
        try:
            cost = _estimate(self._queue.watcher.view(before.number)).cost
        except VelaturaError:
            return False
        return not (cost and cost.pace) or cost.pace.holds(load_now())

    def _end(self, number: int) -> None:
        """End and delete a measurement. It may begin, or end, in the moment in which it is looked at."""
        store = self._queue.store
        for _ in range(ATTEMPTS):
            try:
                if self._queue.watcher.view(number).state not in ENDED:
                    actions.stop(store, number, "cancel", actor=MACHINE_OWNER)
                actions.delete(store, number, actor=MACHINE_OWNER)
                return
            except VelaturaError:
                continue  # what is ending now goes with what else has ended

    def _is_there(self, asked: Asked) -> bool:
        return any(job.id == asked.number for job in self._queue.store.jobs()) if self._queue.store.exists() else False

    def _file(self, draft: str) -> Path:
        return self._drafts.paths.drafts / draft / FILE

    def _pictures(self, draft: str) -> Path:
        return self._drafts.paths.drafts / draft / "measured"


def _read(path: Path) -> Asked | None:
    """A draft's measurement record; None if unreadable, since measuring again is cheap."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Asked(int(kept["number"]), str(kept["key"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _estimate(view: View) -> Estimate:
    summary, facts = view.summary, dict(view.summary.facts)
    if view.state == State.FINISHED and "seconds" in facts:
        whole = {key: int(facts.get(key, 0)) for key in ("memory", "file", "free")}
        most = bool(facts.get("at_most"))
        pace = pace_in(facts)
        cost = Cost(
            float(facts["seconds"]),
            trained=int(facts["parameters"]),
            at_most=most,
            pace=pace,
            card=facts.get("card", ""),
            **whole,
        )
        return Estimate("measured", cost, of=int(facts.get("measured", 0)), fresh=True)
    if view.state == State.QUEUED:
        return Estimate("waiting", sentence=view.line)
    if view.state in ENDED:
        return Estimate("failed", sentence=Sentence.of(summary.message or view.line), code=summary.code)
    return Estimate("measuring", done=summary.share[0], of=summary.share[1], sentence=summary.message)
