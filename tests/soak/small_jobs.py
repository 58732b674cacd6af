"""Many small jobs under three dispatchers, all of which are killed at random."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.states import State
from app.jobs.store import Store
from app.jobs.views import Watcher
from tests.app.jobs.working import add_quick
from tests.soak.machine import Machine
from trainers.runs.events import read_events

DISPATCHERS = 3
DEVICES = ("--device", "cuda:0", "--device", "cuda:1", "--device", "cuda:2")


class SmallJobSoak:
    """Every job is done once, whoever dies, and no device is given to two at a time."""

    def __init__(self, folder: Path, seed: int, jobs: int):
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.machine = Machine(folder / "small")
        for number in range(jobs):
            place = self.machine.runs / ".jobs" / f"job{number}"
            add_quick(self.machine.store, place)
        self.counts["jobs"] = jobs

    def run(self, seconds: float) -> None:
        """Kill for at most so long, then wait for all jobs."""
        for number in range(DISPATCHERS):
            self.machine.serve(f"dispatcher{number}", "worker", *DEVICES)
        start, watcher, next_kill = time.monotonic(), Watcher(self.machine.store), 0.0
        while time.monotonic() < start + 2 * seconds + 120:
            self._look(watcher)
            views = watcher.views()
            if all(view.state == State.FINISHED and view.job.phase == "ended" for view in views):
                break
            if next_kill <= time.monotonic() < start + seconds:
                self._kill(self.machine.store)
                next_kill = time.monotonic() + self.chance.uniform(0.2, 1.0)
            time.sleep(0.05)
        for view in watcher.views():
            done = sum(event["type"] == "done" for event in read_events(view.job.folder))
            if view.state != State.FINISHED or done != 1:
                self.wrong.append(f"{view.job.name} is {view.state} with {done} ends: {view.line}")
        if (found := self.machine.integrity()) != "ok":
            self.wrong.append(f"the queue's file is damaged: {found}")

    def close(self) -> None:
        """End what still runs."""
        self.machine.kill_services()

    def _look(self, watcher: Watcher) -> None:
        self.machine.ensure()
        taken = Counter(job.device for job in self.machine.store.active() if job.device)
        self.wrong += [f"{device} was given to {count} jobs" for device, count in taken.items() if count > 1]
        for view in watcher.views():
            if view.job.phase == "ended" and view.state in (State.INTERRUPTED, State.FAILED):
                actions.retry(self.machine.store, view.job.id, actor=MACHINE_OWNER)
                self.counts["tried again by hand"] += 1

    def _kill(self, store: Store) -> None:
        active = store.active()
        if active and self.chance.random() < 0.5:
            self.counts["jobs killed"] += self.machine.kill_job(self.chance.choice(active))
        else:
            self.machine.services[f"dispatcher{self.chance.randrange(DISPATCHERS)}"].kill()
            self.counts["dispatchers killed"] += 1
