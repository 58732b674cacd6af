"""The grid of a run's steps: what the run drew, what real jobs add, and what is still missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.jobs.permissions import Actor, NotOwnerError
from app.jobs.store import TRAIN, NewJob
from app.studio.base_models import Bases
from app.studio.comparison.sheet import draw_sheet
from app.studio.comparison.step_grid import StepGrids
from app.studio.generation.generations import Generations
from app.studio.runs import chosen
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary
from tests.app.jobs.working import do_next
from tests.app.ui.ended_runs import write_run, write_snapshot
from tests.trainers.conftest import images, quick_runs
from tests.trainers.tiny_runs import quick_settings
from trainers.errors import VelaturaError
from trainers.sampling.grid import make_grid
from trainers.training.train import train

__all__ = ["images", "quick_runs"]
OWNER = Actor()


@pytest.fixture
def grids(queue: StudioQueue) -> StepGrids:
    return StepGrids(Generations(queue, StyleLibrary(queue), Bases(anywhere=False)))


def written(queue: StudioQueue, *steps: int, **changes: Any) -> Any:
    """A run of 40 steps with these snapshots, which drew at 20 and 40."""
    run = write_run(
        queue.store.runs, "dusk", {"train": {"steps": 40, "warmup": 0}, **changes.pop("settings", {})}, **changes
    )
    for step in steps:
        write_snapshot(run, step)
    queue.store.add(NewJob(TRAIN, run, owner="anna"), phase="ended")
    return queue.find("dusk")


def test_what_the_run_drew_is_there_and_the_rest_is_asked_for_in_as_few_generations_as_possible(queue, grids):
    view = written(queue, 10, 20, 40)
    grid = grids.read(view)
    assert (grid.steps, grid.strengths, grid.rows) == ((10, 20, 40), (1.0, 0.8, 0.6), (0, 1))
    drawn = {(row, step, 1.0) for row in (0, 1) for step in (20, 40)}
    assert set(grid.pictures) == drawn and len(grid.missing) == 18 - 4
    assert grid.pictures[1, 40, 1.0] == view.job.folder / "samples" / "final" / "01.png", (
        "from the file, which people use"
    )
    asked = [(each.prompt, [(axis.kind, axis.values) for axis in each.axes]) for each in grid.requests()]
    weaker = [("step", (10, 20, 40)), ("strength", (0.8, 0.6))]
    assert asked == [(prompt, axes) for prompt, _ in grid.every_row for axes in ([("step", (10,))], weaker)]
    assert grid.candidates == ((20, 1.0), (40, 1.0))
    assert {request.seed for request in grid.requests()} == {1} and not any(each.compare for each in grid.requests())


def test_steps_strengths_and_prompts_are_chosen_and_wrong_ones_explained(queue, grids):
    view = written(queue, 10, 20, 40)
    grid = grids.read(view, "10, 40", "0.4-0.8 (+0.2)", [1, 7])
    assert (grid.steps, grid.strengths, grid.rows) == ((10, 40), (0.4, 0.6, 0.8), (1,))
    assert "The style of step 15 was not kept" in " ".join(grids.read(view, "15").problems)
    assert "number from -100 to 100" in " ".join(grids.read(view, "10", "strong").problems)
    chosen.star(view.job.folder, 40)
    chosen.set_candidate(view.job.folder, 10, True)
    assert grids.read(view).steps == (10, 40), "candidates come first"


def test_each_prompt_is_drawn_with_its_seeds_and_once(queue, grids):
    settings = {"sample": {"seeds": [4, 9]}}
    view = written(queue, 20, prompts=("a fox", "a fox", "a  boat ", "a  boat "), settings=settings)
    assert grids.read(view).every_row == (("a fox", 4), ("a fox", 9), ("a boat", 4), ("a boat", 9))
    twice = {"sample": {"seeds": [4]}}
    other = write_run(queue.store.runs, "twice", {"train": {"steps": 40, "warmup": 0}, **twice}, ("a fox", "a fox"))
    write_snapshot(other, 20)
    queue.store.add(NewJob(TRAIN, other), phase="ended")
    assert grids.read(queue.find("twice")).rows == (0,)


def test_a_word_has_no_strengths_to_compare(queue, grids, monkeypatch):
    view = written(queue, 10, 20)
    style = grids.generations.library.of_run("dusk")
    monkeypatch.setattr(grids.generations.library, "of_run", lambda _: replace(style, method="textual-inversion"))
    grid = grids.read(view, strengths="0.2, 0.4")
    assert grid.strengths == (1.0,)
    assert [[axis.kind for axis in request.axes] for request in grid.requests()] == [["step"], ["step"]]


def test_a_run_without_a_style_has_no_grid_and_a_damaged_one_says_so(queue, grids):
    view = written(queue)
    (view.job.folder / "style" / "dusk.safetensors").unlink()
    assert grids.read(view) is None
    write_snapshot(view.job.folder, 20)
    (view.job.folder / "config.toml").write_text("steps = [", encoding="utf-8")
    with pytest.raises(VelaturaError, match="config"):
        grids.read(view)


def test_the_pictures_of_a_sheet_are_no_larger_in_memory_than_on_it(queue, grids, monkeypatch):
    view = written(queue, 20)
    grid = grids.read(view)
    for path in grid.pictures.values():
        Image.new("RGB", (1024, 768)).save(path)
    sizes: set[tuple[int, int]] = set()

    def spied(rows: Any, *arguments: Any) -> Any:
        sizes.update(picture.size for _, pictures in rows for picture in pictures)
        return make_grid(rows, *arguments)

    monkeypatch.setattr("trainers.sampling.grid.make_grid", spied)
    draw_sheet(grid, ["a fox", "a boat"])
    assert sizes == {(512, 384)}


def test_half_an_event_about_its_previews_leaves_the_settings_of_a_run(queue, grids):
    view = written(queue, 20)
    before = grids.read(view).settings
    events = view.job.folder / "events.jsonl"
    half = '{"time": 1, "type": "previews", "step": 0, "sampler": "euler"}\n'
    events.write_text(half + events.read_text(encoding="utf-8"), encoding="utf-8")
    assert grids.read(view).settings == before


def test_only_who_may_change_the_run_draws_or_cancels(queue, grids):
    view = written(queue, 10, 20)
    for act in (lambda: grids.draw(view, grids.read(view), Actor("ben")), lambda: grids.cancel(view, Actor("ben"))):
        with pytest.raises(NotOwnerError):
            act()
    assert grids.read(view).going is None


@pytest.fixture
def trained(queue: StudioQueue, tiny_bases: dict[str, Path], images: Path) -> Iterator[Any]:
    """A run that drew at steps 2 and 4, and kept them, on a base that is here."""
    strong = {
        "train": {"learning_rate": 1.0, "steps": 4, "precision": "auto"},  # the format in which the jobs draw
        "sample": {"every": 2, "prompts": ["a fox", "a boat"]},
    }
    train(quick_settings(tiny_bases["sd1"], images, {"name": "dusk"}, strong), queue.store.runs)
    yield queue.find("dusk")


@pytest.mark.usefixtures("quick_runs")
def test_real_jobs_fill_the_grid_with_the_pictures_that_the_run_would_have_drawn(queue, trained):
    grids = StepGrids(Generations(queue, StyleLibrary(queue), Bases(anywhere=True)))
    own = trained.job.folder / "samples" / "step-00000002" / "01.png"
    before = np.asarray(Image.open(own).convert("RGB"), int)
    own.unlink()
    grids.draw(trained, grids.read(trained, strengths="1, 0"), OWNER)
    grid = grids.read(trained, strengths="1, 0")
    assert grid.missing == [] and len(grid.coming) == 5 and grid.going is not None
    grids.draw(trained, grid, OWNER)
    assert len(queue.jobs()) == 3, "what comes is not asked for again"
    grids.cancel(trained, OWNER)
    assert len(grids.read(trained, strengths="1, 0").missing) == 5
    grids.draw(trained, grids.read(trained, strengths="1, 0"), OWNER)
    while any(view.state == "queued" for view in queue.jobs()):
        assert do_next(queue.store).state == "finished"
    grid = grids.read(trained, strengths="1, 0")
    assert grid.missing == [] and grid.coming == frozenset() and len(grid.pictures) == 8

    def pixels(*place: Any) -> Any:
        return np.asarray(Image.open(grid.pictures[place]).convert("RGB"), int)

    assert abs(pixels(1, 2, 1.0) - before).max() <= 1, "the same as the run's sample of that step"
    assert abs(pixels(1, 4, 1.0) - before).max() > 2 and abs(pixels(0, 2, 0.0) - pixels(0, 2, 1.0)).max() > 2
    assert (pixels(0, 2, 0.0) == pixels(0, 4, 0.0)).all(), "without the style all steps are alike"
    sheet = draw_sheet(grid, ["a fox", "a boat"])
    assert sheet.height > 2 * 2 * 16 and sheet.width > 2 * 16
    assert grid.problems == () and grids.generations.history(OWNER.key) == [], "they are in nobody's Playground"
