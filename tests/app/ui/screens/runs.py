"""The list of runs, a run in each state that says something of its own, and runs side by side."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.jobs.processes.process import own_identity
from app.jobs.store import TRAIN, Job, NewJob, Store
from app.studio.paths import Paths
from app.studio.runs.links import RunLinks
from app.studio.studio_queue import StudioQueue
from app.studio.sweeps.axes import Axis
from app.studio.sweeps.sweep_file import sweep_file
from tests.app.studio.sweeps.made import write_ended_sweep
from tests.app.ui.ended_runs import write_run, write_snapshot
from tests.app.ui.screens.stage import Stage
from trainers.process.heartbeat import Beat, _write
from trainers.runs.events import Recorder
from trainers.runs.run import HEARTBEAT, Run


def screens(stage: Stage) -> Iterator[str]:
    """All of it."""
    for part in (listed, many, states):
        yield from part(stage)


def listed(stage: Stage) -> Iterator[str]:
    """A line to put in order, a run, and runs side by side."""
    page = stage.page
    with listed_runs(stage.out) as names:
        stage.go("runs", ".handle")
        page.locator("[data-tick]").nth(1).check()
        yield "runs-one-ticked"
        page.locator("[data-tick]").nth(2).check()
        yield "runs-ticked"
        stage.press("Clear")
        page.get_by_label("Search").fill("zebra")
        page.get_by_text("No run matches").wait_for()
        yield "runs-none-found"
        yield from finished(stage, names[0])
        stage.go(f"run?id={names[-1]}", ".sheet:not([hidden])")
        yield "run-waiting"
        axes = Axis(("method.name",), ("lora", "loha", "lokr")), Axis(("method.rank",), (4, 8))
        write_ended_sweep(stage.out, "Dusk sweep", *axes)
        stage.go("sweep?id=Dusk%20sweep", "#sweep-head h1")
        yield "sweep"
        for run in stage.out.glob("Dusk sweep-*"):  # whose styles the Playground would offer
            shutil.rmtree(run)
        sweep_file(stage.out, "Dusk sweep").unlink()
        for name, chosen in (("compare", names[:2]), ("compare-four", names), ("compare-none", ["none"])):
            stage.go(f"compare?ids={','.join(chosen)}", "#comparison h1")
            yield name
        yield from steps(stage, names[0])


def finished(stage: Stage, name: str) -> Iterator[str]:
    """A run that has ended: its pictures, its numbers, its menu and its link."""
    page = stage.page
    stage.go(f"run?id={name}", ".sheet:not([hidden])")
    yield "run-finished"
    page.locator(".enlarge:visible").click()
    page.locator("dialog[open] img").wait_for()
    yield "run-enlarged"
    page.keyboard.press("Escape")
    page.evaluate("document.querySelector('#run-graph').scrollIntoView()")
    page.locator(".lines > summary").click()
    yield "run-graph"
    page.locator(".lines > summary").click()
    page.locator("[data-fold=settings] > summary").click()
    page.locator("[data-fold=settings] pre:not(:empty)").scroll_into_view_if_needed()
    yield "run-settings"
    page.evaluate("scrollTo(0, 0)")
    page.get_by_label("More actions").click()
    yield "run-menu"
    page.get_by_role("button", name="Put into another program").click()
    page.get_by_role("dialog").wait_for()
    yield "run-put"
    page.keyboard.press("Escape")
    page.get_by_label("More actions").click()
    page.get_by_role("button", name="Share a read-only link").click()
    link = page.get_by_label("Read-only link")
    link.wait_for()
    yield "run-link"
    page.goto(link.input_value())
    yield "link"
    stage.go(f"run?id={name}", ".sheet:not([hidden])")


def steps(stage: Stage, name: str) -> Iterator[str]:
    """The steps of a run in one grid, and a blind vote on them."""
    for step in (150, 300):
        write_snapshot(stage.out / name, step)
    stage.go(f"steps?id={name}", ".pane img")
    yield "steps"
    stage.page.get_by_role("link", name="Blind vote").click()
    stage.page.locator("[data-seen]").wait_for()
    yield "steps-vote"


def many(stage: Stage) -> Iterator[str]:
    """More runs than there are on a page."""
    runs = [
        write_run(stage.out, f"Study {number:02}", {"train": {"steps": 4}}, first=number, side=320)
        for number in range(27)
    ]
    stage.go("runs", ".pages")
    stage.page.locator(".pages").scroll_into_view_if_needed()
    yield "runs-many"
    for run in runs:
        shutil.rmtree(run)


def states(stage: Stage) -> Iterator[str]:
    """What went wrong, and what a run does then by itself."""
    page, store = stage.page, stage.store
    with made(stage.out) as runs:
        training = going(store, runs["Training"], saved=200, step=260)
        hanging = going(store, runs["Hanging"], saved=200, step=260)
        set_row(store, hanging, restarts=99, restart_step=200)  # else it would be ended, to go on by itself
        silence = time.monotonic() - 40 * 60
        _write(hanging.folder / HEARTBEAT, Beat(time.monotonic(), silence, 2.0, {}, os.getpid()))
        fallen = going(store, runs["Fallen back"], saved=300, step=310)
        record = Recorder(fallen.folder)
        record("damaged", step=300, saved=200)
        record("step", step=220, steps=600, loss=0.2, lr=1e-4, speed=2.0)
        interrupted = store.add(NewJob(TRAIN, runs["Interrupted"]))
        record_training(interrupted.folder, saved=200, step=260)
        set_row(store, interrupted, restarts=1, attempts=1)
        yield from running(stage, training, hanging)
        for name, job in (("run-fell-back", fallen), ("run-goes-on", interrupted)):
            stage.go(f"run?id={job.name}", "#run-head h1")
            yield name
        store.end(store.job(interrupted.id))
        page.locator("#run-head .chip.interrupted").wait_for()
        yield "run-interrupted"
        record_training(runs["Failed"], saved=200, step=260)
        Recorder(runs["Failed"])("error", message="the loss ran away; lower train.learning_rate", step=260)
        store.add(NewJob(TRAIN, runs["Failed"]), phase="ended")
        stage.go("run?id=Failed", "#run-head h1")
        yield "run-failed"
        for kind, name in (("paused", "Paused"), ("stopped", "Stopped")):
            record_training(runs[name], saved=200, step=260)
            Recorder(runs[name])(kind, step=260)
            store.add(NewJob(TRAIN, runs[name]), phase="ended")
            stage.go(f"run?id={name}", "#run-head h1")
            yield f"run-{kind}"
        stage.go("runs", ".runs li")
        yield "runs-states"


def running(stage: Stage, training: Job, hanging: Job) -> Iterator[str]:
    """Runs that go on or hang, and the questions before they are ended."""
    page = stage.page
    stage.go(f"run?id={training.name}", "#run-head .facts")
    yield "run-training"
    page.get_by_label("More actions").click()
    yield "run-training-menu"
    page.locator("#run-acts .menu").get_by_role("button", name="Stop without saving").click()
    page.get_by_role("dialog").wait_for()
    yield "run-without-saving"
    stage.press("Keep training")
    stage.go(f"run?id={hanging.name}", "#run-head .problem")
    yield "run-hanging"
    stage.press("Stop now")
    page.get_by_role("dialog").wait_for()
    yield "run-hanging-stop"
    stage.press("Keep training")
    queue = StudioQueue(Paths(stage.out))
    page.goto(f"{stage.studio.url}shared/{RunLinks(queue).make(queue.find(training.name))}")
    page.locator(".sheet:not([hidden])").wait_for()
    yield "link-training"


def set_row(store: Store, job: Job, **values: int) -> None:
    """Change a job's row behind everybody's back."""
    with store._database.writing() as db:
        db.execute(
            f"UPDATE jobs SET {', '.join(f'{key} = {value}' for key, value in values.items())} WHERE id = {job.id}"
        )


def going(store: Store, run: Path, saved: int, step: int) -> Job:
    """A run that this process says it has in hand."""
    job = store.add(NewJob(TRAIN, run))
    record_training(run, saved, step)
    store.assign(job, "token", own_identity(), 1, "cpu")
    return store.job(job.id)


def record_training(run: Path, saved: int, step: int) -> None:
    """Let a run have come as far as `step` of its 600, with a checkpoint at `saved`."""
    record = Recorder(run)
    record("attempt", number=1)
    record("start", steps=600, method="lora", base="starter", images=12)
    record("step", step=saved, steps=600, loss=0.3, lr=1e-4, speed=2.0)
    record("checkpoint", step=saved)
    record("step", step=step, steps=600, loss=0.2, lr=1e-4, speed=2.0)


@contextmanager
def made(out: Path) -> Iterator[dict[str, Path]]:
    """Runs that end with the block, whatever has become of them."""
    names = ("Training", "Hanging", "Fallen back", "Interrupted", "Failed", "Paused", "Stopped")
    store = Store(out)
    runs = {
        name: write_run(out, name, {"train": {"steps": 600}}, first=number, side=320)
        for number, name in enumerate(names)
    }
    for run in runs.values():
        shutil.rmtree(run / "style")
        Recorder(run)("anew")
        Run(run).checkpoint(200).mkdir(parents=True)
    try:
        yield runs
    finally:
        put_away(store, list(runs.values()))


@contextmanager
def listed_runs(out: Path) -> Iterator[list[str]]:
    """Four runs in the list for a while, two of which wait for a third, which this process says it has in hand."""
    settings: dict[str, dict[str, Any]] = {
        "Harbour blue": {"train": {"learning_rate": 1e-4}},
        "Harbour blue 2": {"train": {"learning_rate": 4e-4}, "method": {"name": "lokr", "factor": 8}},
        "The kitchen of a grandmother in the morning": {"base": {"model": "sd15.safetensors"}},
        "Linocut": {"train": {"steps": 200}, "sample": {"seeds": [7]}},
    }
    store = Store(out)
    runs = [write_run(out, name, each, first=number, side=320) for number, (name, each) in enumerate(settings.items())]
    for run in runs[1:]:
        store.add(NewJob(TRAIN, run))
    claimed = store.claim(lambda *_: "cpu", own_identity())
    assert claimed is not None
    store.begin(claimed.id, claimed.token, own_identity())
    try:
        yield [run.name for run in runs]
    finally:
        put_away(store, runs)


def put_away(store: Store, runs: list[Path]) -> None:
    """Forget runs and delete their folders, whatever has become of them; what waits goes first, or it would begin."""
    for run in reversed(runs):
        if (job := store.job_in(run)) is not None:
            store.forget(job)
        shutil.rmtree(run, ignore_errors=True)
