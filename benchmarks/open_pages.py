"""A long queue looked at by many: how soon open Runs pages and the bar of every page are answered.

python -m benchmarks.open_pages                           this version alone, nothing written
python -m benchmarks.open_pages --training                with a training on all cores beside the pages
python -m benchmarks.open_pages --before FOLDER           and those in other folders, in turn; writes docs/speed.md
"""

from __future__ import annotations

import datetime
import http.client
import json
import os
import re
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.full_unet import machine
from benchmarks.pages import write_section
from benchmarks.quiet import quiet
from tools.markdown import table
from trainers.runs.events import Recorder

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "speed.md"
SAMPLES = ROOT / "presets" / "samples" / "black-line"
WAITING, ENDED, STEPS = 200, 50, 400
PAGES = 20
EVERY = 3.0
"""Seconds between checks of a page, as `app/ui/runs/list.py` and `shell.js` have them while something goes on."""
A_STEP = 0.5
"""Seconds between two steps that the run at work says, each of which changes the list."""
PATIENCE = 120.0
ROUNDS = 3


@dataclass
class Found:
    """What was measured of one version, over all rounds."""

    listed: list[float] = field(default_factory=list)
    """Seconds until each look of a page was answered."""
    now: list[float] = field(default_factory=list)
    """Seconds until each look of a bar was answered."""
    due: int = 0
    """Looks that were due: one that falls in the time of another's answer is passed over, as a page does."""
    busy: list[float] = field(default_factory=list)
    """Processor time of the studio for each second, a round each."""


def command(root: Path, *words: str) -> tuple[list[str], dict[str, Any]]:
    """A command of the version in a folder, and how it is started."""
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return [sys.executable, "-P", "-m", "app.cli", *words], {"cwd": root, "env": environment}


def fill(root: Path, runs: Path, waiting: int = WAITING, ended: int = ENDED, steps: int = STEPS) -> Path:
    """A queue of that version with one run at work, whose folder this is, and with those that wait and have ended.

    One run is prepared; the others are copies of its folder and its row.
    """
    words, options = command(root, "queue", "add", "--images", str(SAMPLES), "--name", "at work", "--out", str(runs))
    subprocess.run(words, **options, check=True, capture_output=True)
    first = runs / "at work"
    with closing(sqlite3.connect(runs / "queue.db")) as queue:
        queue.row_factory = sqlite3.Row
        row = dict(queue.execute("SELECT * FROM jobs").fetchone())
        del row["id"]
        for number in range(ended + waiting):
            name, phase = (f"ended {number}", "ended") if number < ended else (f"waiting {number}", "waiting")
            shutil.copytree(first, runs / name)
            copied = row | {"folder": name, "phase": phase, "position": number + 2, "attempts": int(number < ended)}
            places = ", ".join(f":{column}" for column in copied)
            queue.execute(f"INSERT INTO jobs ({', '.join(copied)}) VALUES ({places})", copied)
            if number < ended:
                _train(Recorder(runs / name), steps)
        _begin(queue, "boot" in row)
        queue.commit()
    return first


def _train(record: Recorder, steps: int) -> None:
    facts: dict[str, Any] = {"method": "lora", "base": "starter", "images": 10, "prompts": ["a lighthouse"]}
    record("start", steps=steps, **facts)
    for step in range(1, steps + 1):
        record("step", step=step, steps=steps, loss=0.1, speed=2.0, lr=1e-4)
    record("done", step=steps)


def _begin(queue: sqlite3.Connection, boots: bool) -> None:
    """Let the first run have this process, which lives as long as it is measured and needs no processor."""
    has = {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}
    has |= {"phase": "running", "device": "cpu", "token": "benchmark", "attempts": 1, "begun": time.time()}
    has |= _since_boot() if boots else {}
    changes = ", ".join(f"{column} = :{column}" for column in has)
    queue.execute(f"UPDATE jobs SET {changes} WHERE folder = 'at work'", has)


def _since_boot() -> dict[str, Any]:
    """When this process began, as the queue keeps it now; asked of another process, as benchmarks import no app."""
    code = "import json; from app.jobs.processes.process import identity_of\n"
    code += f"print(json.dumps(vars(identity_of({os.getpid()}))))"
    asked = [sys.executable, "-c", code]
    said = json.loads(subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    return {"started": said["started"], "boot": said["boot"]}


@contextmanager
def studio(root: Path, runs: Path) -> Iterator[tuple[psutil.Process, int]]:
    """The studio of that version, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words, options = command(root, "ui", "--port", str(port), "--out", str(runs))
    process = subprocess.Popen(words, **options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                Line(port).get("/favicon.ico")  # which needs no login
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        process.wait()


class Line:
    """A connection of a browser to the studio."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def get(self, path: str) -> bytes:
        return self._answer("GET", path)

    def post(self, path: str, content: Any) -> Any:
        return json.loads(self._answer("POST", path, json.dumps(content), {"Content-Type": "application/json"}))

    def _answer(self, how: str, path: str, content: str | None = None, headers: dict[str, str] | None = None) -> bytes:
        try:
            self._connection.request(how, path, content, headers or {})
            answer = self._connection.getresponse()
        except ConnectionError:  # the server has let go of it after some quiet seconds
            self._connection.close()
            self._connection.request(how, path, content, headers or {})
            answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {said[:200]!r}")
        return said


class Open:
    """A page with a list that is open: it asks as its script, or in older versions Gradio's timer, does."""

    def __init__(self, port: int, number: int, page: str = "/runs") -> None:
        self._list, self._bar = Line(port), Line(port)
        found = re.search(rb"window\.gradio_config\s*=\s*(\{.*?\});?\s*</script>", self._list.get(page), re.DOTALL)
        assert found is not None, "no page of Gradio"
        look = next(
            each
            for each in json.loads(found[1])["dependencies"]
            if each["targets"] and each["targets"][0][1] in ("tick", "ticked", "outdated") and len(each["inputs"]) == 2
        )
        self._asked = {"fn_index": look["id"], "trigger_id": look["targets"][0][0], "session_hash": f"page{number}"}
        self._place = look["outputs"].index(look["inputs"][1])
        self._seen = ""

    def look(self) -> None:
        answer = self._list.post("/gradio_api/run/predict", {**self._asked, "data": ["{}", self._seen]})
        seen = answer["data"][self._place]
        self._seen = seen if isinstance(seen, str) else self._seen

    def look_at_bar(self) -> None:
        self._bar.get("/now")


@contextmanager
def training(root: Path, runs: Path, served: bool = False) -> Iterator[None]:
    """A run of the starter that trains on all cores meanwhile, by a worker of that version or by who serves `runs`."""
    settings = ("--name", "beside", "--steps", "100000", "--set", "sample.every=0")
    words, options = command(root, "queue", "add", "--images", str(SAMPLES), "--out", str(runs), *settings)
    subprocess.run(words, **options, check=True, capture_output=True)
    words, options = command(root, "worker", "--out", str(runs))
    del options["env"]["OMP_NUM_THREADS"]
    nowhere = subprocess.DEVNULL
    worker = None if served else subprocess.Popen(words, **options, stdout=nowhere, stderr=nowhere)
    try:
        deadline = time.monotonic() + PATIENCE
        while b'"type": "step"' not in (runs / "beside" / "events.jsonl").read_bytes():
            if time.monotonic() > deadline:
                raise RuntimeError("the run does not train")
            time.sleep(0.2)
        yield
    finally:
        words, options = command(root, "queue", "cancel", "beside", "--out", str(runs))
        subprocess.run(words, **options, check=True, capture_output=True)
        if worker is not None:
            worker.terminate()
            worker.wait()


def measure(root: Path, seconds: float, found: Found, trains: bool) -> None:
    """Let all pages look for so long, each from another moment on."""
    out = Path(tempfile.mkdtemp(prefix="velatura-open-pages-"))
    try:
        record = Recorder(fill(root, out / "runs"))
        beside = training(root, out / "beside") if trains else nullcontext()
        with beside, studio(root, out / "runs") as (process, port):
            pages = [Open(port, number) for number in range(PAGES)]
            for page in pages:
                page.look()
            begun, ended = time.monotonic(), threading.Event()
            threads = [threading.Thread(target=_step, args=(record, ended))]
            for number, page in enumerate(pages):
                first = begun + EVERY * number / PAGES
                threads.append(threading.Thread(target=_watch, args=(page, first, seconds, found)))
                threads.append(threading.Thread(target=_watch_bar, args=(page, first, seconds, found)))
            before = sum(process.cpu_times()[:2])
            for thread in threads:
                thread.start()
            time.sleep(seconds)
            found.busy.append((sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begun))
            ended.set()
            for thread in threads:
                thread.join()
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _step(record: Recorder, ended: threading.Event) -> None:
    record("attempt", number=1)
    record("start", steps=10_000, method="lora", base="starter", images=10)
    step = 0
    while not ended.wait(A_STEP):
        step += 1
        record("step", step=step, steps=10_000, loss=0.1, speed=2.0, lr=1e-4)


def _watch(page: Open, first: float, seconds: float, found: Found) -> None:
    """A look every two seconds, but none while an answer is on its way."""
    due = [first + EVERY * number for number in range(int(seconds / EVERY))]
    found.due += len(due)
    answered = first
    for at in due:
        if at < answered:
            continue
        time.sleep(max(0.0, at - time.monotonic()))
        start = time.monotonic()
        page.look()
        answered = time.monotonic()
        found.listed.append(answered - start)


def _watch_bar(page: Open, first: float, seconds: float, found: Found) -> None:
    """A look two seconds after each answer."""
    time.sleep(max(0.0, first - time.monotonic()))
    while time.monotonic() < first + seconds - EVERY:
        start = time.monotonic()
        page.look_at_bar()
        found.now.append(time.monotonic() - start)
        time.sleep(EVERY)


@quiet()
def open_pages(
    before: Annotated[list[Path] | None, typer.Option(help="Folders of other versions, the oldest first.")] = None,
    seconds: Annotated[float, typer.Option(help="How long each version is looked at in a round.")] = 26.0,
    rounds: Annotated[int, typer.Option(help="Rounds over all versions.")] = ROUNDS,
    trains: Annotated[bool, typer.Option("--training", help="Train a run beside the pages.")] = False,
) -> None:
    """Measure versions of the studio with a long queue and many open pages, in turn in each round."""
    roots = [*(folder.absolute() for folder in before or ()), ROOT]
    found = {root: Found() for root in roots}
    load = [os.getloadavg()[0]]
    for _ in range(rounds):
        for root in roots:
            measure(root, seconds, found[root], trains)
            print(*_row(_version(root), found[root]), sep=" | ", flush=True)
        load.append(os.getloadavg()[0])
    if before:
        write_section(PAGE, report(found, rounds, load, trains))


def _version(root: Path) -> str:
    """The commit that a folder has; this one's may have changes."""
    if root == ROOT:
        return "this version"
    asked = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    return f"commit {subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()}"


def _row(name: str, found: Found) -> tuple[str, ...]:
    return (
        name,
        *_times(found.listed),
        f"{len(found.listed)} of {found.due}",
        *_times(found.now),
        f"{100 * statistics.median(found.busy):.0f} %",
    )


def _times(seconds: list[float]) -> tuple[str, str, str]:
    """Median, 19 of 20, worst."""
    late = statistics.quantiles(seconds, n=20)[-1]
    median, worst = statistics.median(seconds), max(seconds)
    return f"{1000 * median:.0f}", f"{1000 * late:.0f}", f"{1000 * worst:.0f}"


def report(found: dict[Path, Found], rounds: int, load: list[float], trains: bool) -> str:
    """The section of the page."""
    today = datetime.datetime.now(tz=datetime.UTC).strftime("%d %B %Y")
    heads = (
        "version",
        "list: median",
        "95 %",
        "worst",
        "answered",
        "bar: median",
        "95 %",
        "worst",
        "CPU",
    )
    return "\n".join(
        [
            "# Many open pages",
            "",
            f"{PAGES} Runs pages are open on one studio while {WAITING} runs wait, {ENDED} have ended and one reports "
            f"a step every {A_STEP} s. Each page requests its list every {EVERY:.0f} s, unless an answer is pending; "
            f"its status bar requests `/now` {EVERY:.0f} s after each answer. Times in ms; *CPU* is the studio's share "
            "of one core. The active run is simulated"
            + ("; a worker trains another run of the starter on both cores." if trains else ", so the CPU is free."),
            "",
            f"Written by `python -m benchmarks.open_pages` on {today}: {machine()}. "
            f"The load was {min(load):.1f} to {max(load):.1f} between the rounds. {rounds} rounds with all versions in "
            "turn; every answer of every round is counted.",
            "",
            *table(heads, [_row(_version(root), each) for root, each in found.items()]),
        ]
    )


if __name__ == "__main__":
    typer.run(open_pages)
