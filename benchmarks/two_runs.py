"""Two runs on one machine: steps a second of one and of two, and how soon the studio answers beside a training.

python -m benchmarks.two_runs                         both ways of waiting, and the pages; writes docs/speed.md
python -m benchmarks.two_runs --spins 1000,300000     only how often threads look again, nothing written
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from benchmarks.quiet import quiet
from tools.markdown import table
from trainers.process.threads import SPINS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "speed.md"
SAMPLES = ROOT / "presets" / "samples" / "black-line"
DEFAULT_SPINS = 300_000
"""What GNU's OpenMP does by itself (libgomp, `GOMP_SPINCOUNT`)."""
LONG = 100_000
"""Steps of a run that is ended before."""
WARM = 5
"""Steps before anything is measured."""
PATIENCE = 300.0
"""Seconds for a process to come that far."""
AIM_ALONE, AIM_TWO, AIM_PAGE = 0.97, 1.0, 0.2
PAGES = ("", "runs", "styles", "playground", "now")

Environment = dict[str, str]


def waiting(spins: int) -> Environment:
    """The environment in which idle threads look so often for work before they sleep."""
    return {"GOMP_SPINCOUNT": str(spins)}


@dataclass(frozen=True)
class Training:
    """A run of the starter that trains until it is ended."""

    process: subprocess.Popen[bytes]
    folder: Path

    def steps(self) -> list[float]:
        """When each step ended, in Unix seconds."""
        path = self.folder / "events.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [event["time"] for event in map(json.loads, lines) if event["type"] == "step"]

    def wait_until_warm(self) -> None:
        """Wait for the first steps."""
        deadline = time.monotonic() + PATIENCE
        while len(self.steps()) < WARM:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.folder} does not train")
            time.sleep(0.1)


@contextmanager
def training(out: Path, name: str, environment: Environment, *options: str) -> Iterator[Training]:
    """A training in a process of its own, ended with the block."""
    words = ["train", "--images", str(SAMPLES), "--name", name, "--preset", "lora", "--steps", str(LONG)]
    words += ["--out", str(out), "--set", "sample.size=64", "--set", "sample.steps=1", "--set", "sample.every=0"]
    command = [sys.executable, "-m", "app.cli", *words, *options]
    process = subprocess.Popen(command, cwd=ROOT, env=clean() | environment, stderr=subprocess.DEVNULL)
    try:
        yield Training(process, out / name)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(out / name, ignore_errors=True)


def clean() -> Environment:
    """This process's environment without settings of threads."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP", "MKL", "KMP"))}


def rate(runs: Sequence[Training], seconds: float) -> float:
    """Steps a second of all runs together over so long, once each is warm."""
    for run in runs:
        run.wait_until_warm()
    begun = time.time()
    time.sleep(seconds)
    within = [[step for step in run.steps() if step >= begun] for run in runs]
    return sum((len(steps) - 1) / (steps[-1] - steps[0]) for steps in within)  # of whole steps, at this few a second


def measure(out: Path, environments: Sequence[Environment], seconds: float) -> float:
    """Steps a second of runs that train side by side, each begun once the one before trains."""
    with ExitStack() as stack:
        runs: list[Training] = []
        for number, environment in enumerate(environments):
            run = stack.enter_context(training(out, f"run{number}", environment))
            if len(environments) > 1:
                run.wait_until_warm()
            runs.append(run)
        return rate(runs, seconds)


def page_times(out: Path, seconds: float) -> list[float]:
    """How long the studio's pages take while a job of its queue trains, each asked for in turn."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    runs, address = out / "queue", f"http://127.0.0.1:{port}/"
    add = ["queue", "add", "--images", str(SAMPLES), "--name", "run", "--preset", "lora", "--steps", str(LONG)]
    add += ["--set", "sample.size=64", "--set", "sample.steps=1", "--set", "sample.every=0"]
    subprocess.run([sys.executable, "-m", "app.cli", *add, "--out", str(runs)], cwd=ROOT, env=clean(), check=True)
    command = [sys.executable, "-m", "app.cli", "ui", "--port", str(port), "--out", str(runs)]
    studio = subprocess.Popen(command, cwd=ROOT, env=clean(), stderr=subprocess.DEVNULL)
    try:
        Training(studio, runs / "run").wait_until_warm()
        for page in PAGES:
            _ask(address + page)
        times, ended, number = list[float](), time.monotonic() + seconds, 0
        while time.monotonic() < ended:
            times.append(_ask(address + PAGES[number % len(PAGES)]))
            number += 1
            time.sleep(0.05)
        return times
    finally:
        cancel = ["queue", "cancel", "run", "--out", str(runs)]
        subprocess.run([sys.executable, "-m", "app.cli", *cancel], cwd=ROOT, env=clean(), capture_output=True)
        studio.kill()
        studio.wait()


def _ask(address: str) -> float:
    start, deadline = time.perf_counter(), time.perf_counter() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                answer.read()
            return time.perf_counter() - start
        except urllib.error.URLError:
            if time.perf_counter() > deadline:
                raise
            time.sleep(0.5)
            start = time.perf_counter()


@quiet()
def two_runs(
    seconds: Annotated[float, typer.Option(help="Seconds to measure each rate.")] = 12.0,
    rounds: Annotated[int, typer.Option(help="Number of rounds.")] = 3,
    spins: Annotated[str, typer.Option(help="Only compare these spin counts, separated by commas.")] = "",
) -> None:
    """Measure one run and two, as OpenMP waits by itself and as it is told to, side by side in each round."""
    out = Path(tempfile.mkdtemp(prefix="velatura-two-runs-"))
    try:
        if spins:
            _compare(out, [int(number) for number in spins.split(",")], seconds, rounds)
            return
        before = waiting(DEFAULT_SPINS) | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        found: dict[str, list[float]] = {"alone before": [], "alone now": [], "two before": [], "two now": []}
        for _ in range(rounds):
            found["alone before"].append(measure(out, [before], seconds))
            found["alone now"].append(measure(out, [{}], seconds))
            found["two before"].append(measure(out, [before, before], seconds))
            found["two now"].append(measure(out, [{}, {}], seconds))
            print({name: round(rates[-1], 2) for name, rates in found.items()}, flush=True)
        write_section(PAGE, report(found, page_times(out, 3 * seconds)))
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _compare(out: Path, numbers: Sequence[int], seconds: float, rounds: int) -> None:
    for _ in range(rounds):
        for number in numbers:
            alone = measure(out, [waiting(number)], seconds)
            two = measure(out, [waiting(number)] * 2, seconds)
            print(f"{number:>9} spins: alone {alone:.2f}, two {two:.2f} steps/s", flush=True)


def report(found: dict[str, list[float]], pages: list[float]) -> str:
    """The section of the page."""
    base = statistics.median(found["alone before"])
    middle = {name: statistics.median(rates) for name, rates in found.items()}
    late = statistics.quantiles(pages, n=20)[-1]
    kept, both = middle["alone now"] / base, middle["two now"] / middle["alone now"]
    verdicts = {"alone now": verdict(kept >= AIM_ALONE), "two now": verdict(both >= AIM_TWO)}
    labels = {
        "alone before": f"one run, {DEFAULT_SPINS:,} spins",
        "alone now": f"one run, {SPINS:,} spins",
        "two before": f"two runs, {DEFAULT_SPINS:,} spins, all threads each",
        "two now": f"two runs, {SPINS:,} spins, shared threads",
    }
    rows = []
    for name, rates in found.items():
        spread = f"{min(rates):.2f} to {max(rates):.2f}"
        rows.append((labels[name], f"{middle[name]:.2f}", spread, f"{middle[name] / base:.2f}", verdicts.get(name, "")))
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    return "\n".join(
        [
            "# Two runs on one machine",
            "",
            "Steps per second of LoRA on the starter, summed over the runs while all of them train. *Spins* is how "
            f"often idle threads poll for work before they sleep; {DEFAULT_SPINS:,} is the default of GNU OpenMP. With "
            "shared threads, the second run uses its share of the cores. Targets: one run at least "
            f"{AIM_ALONE:.0%} of before, two at least {AIM_TWO:.0%} of one, pages within {1000 * AIM_PAGE:.0f} ms.",
            "",
            f"Written by `python -m benchmarks.two_runs` on {today}: {machine()}; torch {torch.__version__}. Median of "
            f"{len(found['two now'])} rounds.",
            "",
            *table(("what", "steps / s", "spread", "× one run before", "aim"), rows),
            "",
            f"Two runs together make {both:.0%} of the steps of one. While a job trains, the studio answers within "
            f"{1000 * statistics.median(pages):.0f} ms (median) and {1000 * late:.0f} ms (95th percentile of "
            f"{len(pages)} answers; target: {verdict(late <= AIM_PAGE)}).",
        ]
    )


def verdict(met: bool) -> str:
    """Whether an aim was met, in a word."""
    return "met" if met else "missed"


if __name__ == "__main__":
    typer.run(two_runs)
