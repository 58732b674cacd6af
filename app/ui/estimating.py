"""Measuring what a draft would take: a small job in the queue, begun when somebody comes to the third step."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.small import add_estimate
from app.jobs.states import ENDED, State
from app.jobs.views import View
from app.ui.drafts import Draft, Drafts
from app.ui.estimates import Cost, Measured, cost_key
from app.ui.queue import Queue
from trainers.config import Config
from trainers.errors import VelaturaError


@dataclass(frozen=True)
class Estimate:
    """What is known of a draft's cost."""

    phase: Literal["none", "waiting", "measuring", "measured", "failed"] = "none"
    cost: Cost | None = None
    done: int = 0
    of: int = 0
    sentence: str = ""
    """Of a failure, or what a waiting one waits for."""
    fresh: bool = False
    """Measured just now, and not some time before."""

    @property
    def busy(self) -> bool:
        """Whether more is to come."""
        return self.phase in ("waiting", "measuring")


@dataclass(frozen=True)
class Asked:
    """A measurement under way or ended: its job, what it was for, and the pictures it uses."""

    number: int
    key: str
    pictures: Path


class Estimating:
    """One measurement a draft at most; what is measured is kept for everybody."""

    def __init__(self, drafts: Drafts, queue: Queue, measured: Measured) -> None:
        self._drafts, self._queue, self._measured = drafts, queue, measured
        self._asked: dict[str, Asked] = {}
        self._lock = threading.Lock()

    def begin(self, draft: Draft, config: Config, owner: str, again: bool = False) -> None:
        """Measure a draft, unless that was done or is under way; `again` measures in any case."""
        with self._lock:
            key = cost_key(config, len(draft.pictures))
            before = self._asked.get(draft.id)
            if not again and (self._measured.cost(config, len(draft.pictures)) or (before and before.key == key)):
                return
            self._forget(draft.id)
            pictures = self._drafts.places.drafts / draft.id / "measured"
            shutil.rmtree(pictures, ignore_errors=True)
            self._drafts.write_dataset(draft, pictures)
            data = config.data.model_copy(update={"images": str(pictures.absolute())})
            job = add_estimate(self._queue.store, config.model_copy(update={"data": data}), owner)
            self._asked[draft.id] = Asked(job.id, key, pictures)

    def look(self, draft: Draft, config: Config) -> Estimate:
        """What is known of a draft's cost by now."""
        known = self._measured.cost(config, len(draft.pictures))
        with self._lock:
            asked = self._asked.get(draft.id)
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
                shutil.rmtree(asked.pictures, ignore_errors=True)
            return found

    def forget(self, draft: Draft) -> None:
        """Let go of a measurement: nobody waits for it any more."""
        with self._lock:
            self._forget(draft.id)

    def _forget(self, draft: str) -> None:
        asked = self._asked.pop(draft, None)
        if asked is None:
            return
        store = self._queue.store
        try:
            if self._queue.watcher.view(asked.number).state not in ENDED:
                actions.stop(store, asked.number, "cancel", actor=MACHINE_OWNER)
            actions.delete(store, asked.number, actor=MACHINE_OWNER)
        except VelaturaError:
            pass  # it has just ended, or is ending: then it goes with what else has ended
        shutil.rmtree(asked.pictures, ignore_errors=True)


def _estimate(view: View) -> Estimate:
    said, facts = view.said, dict(view.said.facts)
    if view.state == State.FINISHED and "seconds" in facts:
        whole = {key: int(facts.get(key, 0)) for key in ("memory", "file", "free")}
        most = bool(facts.get("at_most"))
        cost = Cost(float(facts["seconds"]), trained=int(facts["parameters"]), at_most=most, **whole)
        return Estimate("measured", cost, of=int(facts.get("measured", 0)), fresh=True)
    if view.state == State.QUEUED:
        return Estimate("waiting", sentence=view.line)
    if view.state in ENDED:
        return Estimate("failed", sentence=said.message or view.line)
    return Estimate("measuring", done=said.share[0], of=said.share[1], sentence=said.message)
