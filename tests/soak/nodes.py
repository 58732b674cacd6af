"""Runs on the nodes of a cluster that are killed and frozen at random."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
import torch
from safetensors.torch import load_file

from app.jobs import actions
from app.jobs.cluster.cluster import Cluster
from app.jobs.cluster.storage import MANIFESTS, Storage, own_folder
from app.jobs.dispatcher import Dispatcher
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.processes.devices import DeviceOffer
from app.jobs.processes.process import find_processes
from app.jobs.states import State
from app.jobs.store import Store
from app.jobs.view import View
from app.jobs.views import Watcher
from app.studio.job_modules import JOB_MODULES
from tests.app.jobs.cluster.local_cluster import LocalCluster
from tests.soak.trainings import TOGETHER, settings, train_whole
from trainers.runs.events import read_events
from trainers.runs.run import Run

WAITING = 4
"""Runs that wait in line while there are more to come."""
BETWEEN = (10.0, 30.0)
"""Seconds between two blows."""
FROZEN = (62.0, 80.0)
"""Seconds for which a node is frozen."""
FREEZE, HEAD = 0.2, 0.1
"""Chances that a blow freezes a node, or kills a job's process on the head."""
PATIENCE = 30.0
"""Seconds until a node that is no longer frozen should have ended."""
LIMIT = 29 * 60.0
"""Seconds after which what has not ended is wrong."""


@dataclass
class Blow:
    """A node that was killed or frozen while it had a job."""

    kind: str
    job: int
    attempt: int
    at: float = field(default_factory=time.monotonic)


@dataclass
class Frozen:
    """A node's stopped processes."""

    processes: list[psutil.Process]
    until: float
    continued: bool = False


class NodeSoak:
    """Strikes until enough runs have ended, and says what was found wrong."""

    def __init__(self, local: LocalCluster, seed: int, runs: int, storage: str) -> None:
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.noticed: dict[str, list[float]] = {"killed": [], "frozen": []}
        self._local, self._runs, self._storage = local, runs, storage
        self._store = Store(local.folder / "runs")
        self._watcher = Watcher(self._store)
        self._whole = train_whole(local.folder / "whole")
        self._cluster = Cluster(self._store.runs, str(local.address), storage)
        self._blows: list[Blow] = []
        self._frozen: dict[str, Frozen] = {}
        self._together: dict[str, float] = {}

    def run(self) -> None:
        """Add runs, strike, and wait until all have ended."""
        began, strike = time.monotonic(), time.monotonic() + self.chance.uniform(*BETWEEN)
        hosts = self._local.hosts
        actions.add(self._store, settings("run-1"), actor=MACHINE_OWNER)
        dispatcher = Dispatcher(
            self._store, JOB_MODULES, DeviceOffer((), complete=False), cluster=self._cluster, notify=print
        )
        with dispatcher.in_background():
            while time.monotonic() < began + LIMIT and not self._is_done():
                self._add_runs()
                self._look()
                self._tend(hosts)
                if time.monotonic() > strike:
                    self._strike(hosts)
                    strike = time.monotonic() + self.chance.uniform(*BETWEEN)
                time.sleep(0.1)
            for view in self._watcher.views():
                self._check(view)
            self._check_processes()
            if self._storage:
                self._check_storage(Storage(own_folder(self._storage, self._store.runs)))

    def _is_done(self) -> bool:
        jobs = self._store.jobs()
        return len(jobs) >= self._runs and all(view.job.phase == "ended" for view in self._watcher.views())

    def _add_runs(self) -> None:
        count = len(self._store.jobs())
        if count < self._runs and len(self._store.line()) < WAITING:
            actions.add(self._store, settings(f"run-{count + 1}"), actor=MACHINE_OWNER)

    # ---------------------------------------------------------------- striking
    def _strike(self, hosts: tuple[str, ...]) -> None:
        """Kill or freeze a node that runs, or kill a job's process on the head."""
        kind, host = self.chance.random(), self.chance.choice(hosts)
        if kind < HEAD:
            running = [job for job in self._store.active() if job.phase == "running"]
            if running and self.chance.choice(running).process.kill():
                self.counts["heads' processes killed"] += 1
            return
        if host in self._frozen or not self._local.ensure(host):
            return
        if kind < HEAD + FREEZE:
            if self._frozen:  # one at a time, or all that there are stand still
                return
            until = time.monotonic() + self.chance.uniform(*FROZEN)
            self._note("frozen", host)
            self._frozen[host] = Frozen(self._local.freeze(host), until)
            self.counts["nodes frozen"] += 1
        else:
            self._note("killed", host)
            self._local.kill(host)
            self.counts["nodes killed"] += 1
        print(f"{host}: {'frozen' if host in self._frozen else 'killed'}")

    def _note(self, kind: str, host: str) -> None:
        """Remember which run a node had, to see when that is noticed."""
        for job in self._store.active():
            if job.phase == "running" and job.device.endswith(f"@{host}"):
                self._blows.append(Blow(kind, job.id, job.attempts))

    def _tend(self, hosts: tuple[str, ...]) -> None:
        """Continue what was frozen for long enough, and start again what has ended."""
        for host, frozen in list(self._frozen.items()):
            if not frozen.continued and time.monotonic() > frozen.until:
                for process in frozen.processes:
                    with suppress(psutil.Error):
                        process.resume()
                frozen.continued, frozen.until = True, time.monotonic() + PATIENCE
            elif frozen.continued and (time.monotonic() > frozen.until or self._local.has_ended(host)):
                if not self._local.has_ended(host):
                    self.wrong.append(f"{host} was frozen, continued, and did not end")
                self._local.kill(host)
                del self._frozen[host]
        for host in hosts:
            if host not in self._frozen:
                self._local.ensure(host)

    # ---------------------------------------------------------------- looking
    def _look(self) -> None:
        """Go on with what is left to people, see what was noticed, and hold every job to one process on the head."""
        now = time.monotonic()
        for view in self._watcher.views():
            if view.job.phase == "ended" and view.state == State.INTERRUPTED:
                actions.resume(self._store, view.job.id, actor=MACHINE_OWNER)
                self.counts["resumed by hand"] += 1
        for blow in list(self._blows):
            job = self._store.job(blow.job)
            if job.attempts != blow.attempt or job.phase != "running":
                self._blows.remove(blow)
                if job.phase != "ended":  # it was at its end, and what it made had arrived
                    self.noticed[blow.kind].append(now - blow.at)
        several = {token for token, count in self._heads().items() if count > 1}
        self._together = {token: self._together.get(token, now) for token in several}
        self.wrong += [f"two processes had job {each}" for each, at in self._together.items() if now - at > TOGETHER]

    def _heads(self) -> Counter[str]:
        """How many processes on the head each job has, by its number."""
        commands = find_processes(rf"{re.escape(str(self._store.runs))} (\d+) \w+")
        return Counter(command[1] for _process, command in commands)

    # ---------------------------------------------------------------- ending
    def _check(self, view: View) -> None:
        name, run = view.job.name, Run(view.job.folder)
        self.counts["runs"] += 1
        self.counts["attempts"] += view.job.attempts
        events = list(read_events(run.folder))
        kinds = Counter(str(event["type"]) for event in events)
        self.counts["restarts by themselves"] += kinds["restart"]
        if view.state != State.FINISHED or kinds["done"] != 1:
            self.wrong.append(f"{name} is {view.state} with {kinds['done']} ends: {view.line}")
            return
        attempt, step = 0, -1
        for event in events:  # what two write at a time goes back
            if event["type"] == "attempt":
                before, attempt, step = attempt, event["number"], -1
                if attempt < before:
                    self.wrong.append(f"{name} has attempt {attempt} after {before}")
            elif event["type"] == "step":
                if event["step"] <= step:
                    self.wrong.append(f"{name} has step {event['step']} after {step} in attempt {attempt}")
                step = event["step"]
        style = load_file(run.style / f"{name}.safetensors")
        same = style.keys() == self._whole.keys() and all(torch.equal(style[key], self._whole[key]) for key in style)
        if not same:
            self.wrong.append(f"{name} has another style than the uncut run")
        self.wrong += [f"{path} was left" for path in run.folder.rglob(".incoming")]

    def _check_processes(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while (self._local.trainings() or self._heads()) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.wrong += [f"training {each.pid} was left" for each in self._local.trainings()]
        self.wrong += [f"a process of job {number} was left on the head" for number in self._heads()]

    def _check_storage(self, storage: Storage) -> None:
        last: dict[str, int] = {}
        for name, _ in storage.names(MANIFESTS):
            job, attempt = name.rpartition("/")[0], json.loads(storage.read(name))["attempt"]
            if attempt < last.setdefault(job, attempt):
                self.wrong.append(f"{name} is of attempt {attempt}, after one of {last[job]}")
            last[job] = attempt
            self.counts["manifests"] += 1
