"""Two queues of real runs and drawings whose processes, workers and studios are killed in every phase."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.small_jobs import PICTURE, add_small_job
from app.jobs.states import State
from app.jobs.store import GENERATE, TRAIN
from app.jobs.view import View
from app.jobs.views import Watcher
from app.studio.generation.compatibility import resolve_files
from app.studio.generation.request import make_request
from tests.soak.machine import ENVIRONMENT, Machine, free_port
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.runs.events import read_events
from trainers.runs.run import Run

SAMPLES = Path(__file__).parents[2] / "presets" / "samples" / "black-line"
PHASES = (State.PREPARING, State.TRAINING, State.SAMPLING, State.SAVING, State.WORKING)
DRAWING = {"prompts": ("a fox",), "steps": 8, "size": 64, "seed": 3, "compare": False}
DRAWN = ("--prompt", "a fox", "--steps", "8", "--size", "64", "--seed", "3")
DRAW = 0.01
"""Chance of a drawing at each look."""
TOGETHER = 3.0
"""Seconds for which two processes of one job may be there: the later one is on its way to find that it is too late."""
CLOSELY, GLANCE = 3.0, 0.0005
"""Seconds for which trainings are watched for a write, and between two looks: it is over in some milliseconds."""
WAITING = 2
"""Runs that should be in line in each queue while there is time."""


def settings(name: str) -> Config:
    """A run of the starter that passes through every phase, and saves often."""
    return build_config(
        {
            "name": name,
            "data": {"images": str(SAMPLES), "resolution": 64},
            "method": {"name": "lora", "rank": 4, "alpha": 4.0},
            "train": {"steps": 12, "batch_size": 1, "learning_rate": 1e-3, "device": "cpu", "ema": 0.9},
            "sample": {"prompts": ["a fox"], "steps": 4, "size": 64, "every": 6},
            "save": {"every": 2},
        }
    )


class TrainingSoak:
    """Kills for a while, then lets everything end, and says what was found wrong."""

    def __init__(self, folder: Path, seed: int):
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.machines = [Machine(folder / name) for name in ("one", "two")]
        self._whole = train_whole(folder / "whole")
        self._picture = self._draw_whole(folder / "whole.png")
        self._aims = [(Watcher(machine.store), machine) for machine in self.machines]
        self._together: dict[tuple[Path, int], float] = {}

    def run(self, seconds: float) -> None:
        """Kill for so long, then wait for all runs."""
        for machine in self.machines:
            actions.add(machine.store, settings("run-1"), actor=MACHINE_OWNER)
            machine.serve("worker", "worker", "--device", "cpu")
            machine.serve("studio", "ui", "--port", str(free_port()))
        deadline, next_kill, aim = time.monotonic() + seconds, 0.0, self.chance.choice(PHASES)
        while time.monotonic() < deadline:
            self._look()
            self._add_runs()
            if time.monotonic() >= next_kill and self._kill(aim):
                aim = self.chance.choice(PHASES)
                next_kill = time.monotonic() + self.chance.uniform(1, 6)
            time.sleep(0.05)
        self._finish(time.monotonic() + max(180.0, seconds))

    def close(self) -> None:
        """End what still runs."""
        for machine in self.machines:
            machine.kill_services()
            for processes in machine.processes().values():
                for process in processes:
                    self.wrong.append(f"{machine.runs.name}: process {process.pid} was left")
                    process.kill()

    # ---------------------------------------------------------------- killing
    def _kill(self, aim: State) -> bool:
        """Kill a training in the phase aimed at, or now and then a service or everything; whether it was done."""
        machine, kind = self.chance.choice(self.machines), self.chance.random()
        if kind < 0.003:
            for each in self.machines:
                each.kill_services()
                for job in each.store.active():
                    each.kill_job(job)
            self.counts["everything at once"] += 1
            return True
        if kind < 0.02:
            name = self.chance.choice(sorted(machine.services))
            machine.services[name].kill()
            self.counts[f"{name}s"] += 1
            return True
        if kind < 0.03 and (servers := machine.fork_servers()):
            self.chance.choice(servers).kill()
            self.counts["fork servers"] += 1
            return True
        if kind < 0.06 and (holders := machine.base_holders()):
            self.chance.choice(holders).kill()
            self.counts["base holders"] += 1
            return True
        watcher, machine = self.chance.choice(self._aims)
        if aim == State.SAVING:
            return self._kill_while_saving(machine)
        for view in watcher.views():
            if view.state == aim and machine.kill_job(view.job):
                self.counts["drawings" if aim == State.WORKING else f"trainings while {aim}"] += 1
                return True
        return False

    def _kill_while_saving(self, machine: Machine) -> bool:
        """Watch the trainings of a queue closely, and kill one in the middle of writing a checkpoint or its style."""
        jobs = [job for job in machine.store.active() if job.phase == "running"]
        before, deadline = {job.id: set(_half(Run(job.folder))) for job in jobs}, time.monotonic() + CLOSELY
        while jobs and time.monotonic() < deadline:
            for job in jobs:
                if set(_half(Run(job.folder))) - before[job.id] and machine.kill_job(job):
                    self.counts[f"trainings while {State.SAVING}"] += 1
                    return True
            time.sleep(GLANCE)
        return False

    def _add_runs(self) -> None:
        for machine in self.machines:
            if len(machine.store.line()) < WAITING:
                number = 1 + len(machine.store.jobs())
                actions.add(machine.store, settings(f"run-{number}"), actor=MACHINE_OWNER)
            if self.chance.random() < DRAW and not any(job.kind == GENERATE for job in machine.store.line()):
                add_small_job(machine.store, GENERATE, resolve_files(make_request(**DRAWING)))

    # ---------------------------------------------------------------- looking
    def _look(self) -> None:
        """Start again what was killed, go on with what is left to people, and hold every job to one process."""
        for watcher, machine in self._aims:
            machine.ensure()
            for view in watcher.views():
                if view.state in (State.INTERRUPTED, State.PAUSED) and view.job.phase == "ended":
                    again = actions.resume if view.job.kind == TRAIN else actions.retry
                    again(machine.store, view.job.id, actor=MACHINE_OWNER)
                    self.counts["resumed by hand" if view.job.kind == TRAIN else "drawn again by hand"] += 1
            self._watch_processes(machine)

    def _watch_processes(self, machine: Machine) -> None:
        several = {number for number, processes in machine.processes().items() if len(processes) > 1}
        for number in several:
            since = self._together.setdefault((machine.runs, number), time.monotonic())
            if time.monotonic() - since > TOGETHER:
                self.wrong.append(f"{machine.runs.name}: two processes had job {number}")
        for key in [key for key in self._together if key[0] == machine.runs and key[1] not in several]:
            del self._together[key]

    # ---------------------------------------------------------------- ending
    def _finish(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            self._look()
            if all(view.job.phase == "ended" for watcher, _ in self._aims for view in watcher.views()):
                break
            time.sleep(0.2)
        for watcher, machine in self._aims:
            for view in watcher.views():
                self._check(machine, view)
            if (found := machine.integrity()) != "ok":
                self.wrong.append(f"{machine.runs.name}: the queue's file is damaged: {found}")
            self.wrong += [f"{path} was left" for path in machine.runs.rglob("*") if is_half(path)]

    def _check(self, machine: Machine, view: View) -> None:
        name, run = f"{machine.runs.name}/{view.job.name}", Run(view.job.folder)
        if view.job.kind == GENERATE:
            self.counts["drawings in all"] += 1
            if view.state != State.FINISHED or pixels(run.folder / PICTURE) != self._picture:
                self.wrong.append(f"{name} is {view.state} or not the uncut picture: {view.line}")
            return
        self.counts["runs"] += 1
        self.counts["attempts"] += view.job.attempts
        kinds = Counter(str(event["type"]) for event in read_events(run.folder))
        self.counts["restarts by themselves"] += kinds["restart"]
        if view.state != State.FINISHED or kinds["done"] != 1:
            self.wrong.append(f"{name} is {view.state} with {kinds['done']} ends: {view.line}")
            return
        style = load_file(run.style / f"{view.job.name}.safetensors")
        same = style.keys() == self._whole.keys() and all(torch.equal(style[key], self._whole[key]) for key in style)
        if not same:
            self.wrong.append(f"{name} has another style than the uncut run")

    def _draw_whole(self, place: Path) -> bytes:
        """The same drawing that nothing cuts."""
        command = [sys.executable, "-m", "app.cli", "generate", *DRAWN, "--out", str(place)]
        subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
        return pixels(place)


def train_whole(folder: Path) -> dict[str, torch.Tensor]:
    """The style of the same run that nothing cuts."""
    code = (
        "import sys; from pathlib import Path; from trainers.training.train import train; "
        "from tests.soak.trainings import settings; train(settings('whole'), Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], env=ENVIRONMENT, check=True, capture_output=True)
    return load_file(folder / "whole" / "style" / "whole.safetensors")


def pixels(place: Path) -> bytes:
    """What a picture shows; nothing where there is none."""
    return Image.open(place).tobytes() if place.exists() else b""


def is_half(path: Path) -> bool:
    """Whether a name is one under which something is written before it has its own."""
    return "unfinished" in path.name or path.name.endswith(".part")


def _half(run: Run) -> Iterator[tuple[Path, int]]:
    """What is being written of a run's checkpoints and style just now, or was when it was killed."""
    for folder in (run.checkpoints, run.style):
        for path in folder.glob(".*"):
            with suppress(FileNotFoundError):  # it has its name now
                yield path, path.stat().st_ino
