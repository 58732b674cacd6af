"""The numbers of a run as a page draws them: few points, gaps where there is none, and nothing sent twice."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.jobs.events.losses import Losses, Numbers
from app.studio.studio_queue import StudioQueue
from app.ui.components.runs.curve import thinned
from app.ui.runs import graph_view
from app.ui.runs.graph_view import MOST_POINTS, bucket_size, planned_steps, points, read_graph, read_scores
from tests.app.ui.ended_runs import write_run, write_scores
from trainers.config.migrations import VERSION
from trainers.runs.events import Recorder
from trainers.runs.run import Run


def numbers(count: int, **rows: list[float]) -> Numbers:
    """A run of so many steps, whose loss falls."""
    steps = list(range(1, count + 1))
    none = [math.nan] * count
    losses = rows.get("losses", [math.exp(-step / 300) for step in steps])
    return Numbers(steps, losses, [0.1] * count, rows.get("norms", none), none, {}, 0)


def sent(queue: StudioQueue, found: Numbers, known: str = "") -> tuple[dict[str, Any], str]:
    """What a page gets of a run with these numbers."""
    view = queue.run("dusk")
    if view is None:
        write_run(queue.store.runs, "dusk", {"train": {"steps": 4, "warmup": 0}})
        view = queue.run("dusk")
        assert view is not None
    lazy, now = read_graph(view, found, known)
    return json.loads(lazy.make()), now


def test_the_scores_come_with_the_best_step_and_why(queue: StudioQueue):
    run = write_run(queue.store.runs, "dusk", {"train": {"steps": 4, "warmup": 0}})
    view = queue.run("dusk")
    assert view is not None and read_scores(view) is None
    write_scores(run, 2, (1, 2, 4))
    view = queue.run("dusk")
    assert view is not None
    told = read_scores(view)
    assert told is not None and told["rows"] == [
        *([0, 100.0, 0.0, 1.0, False], [1, 99.0, 0.01, 1.0, False]),
        *([2, 60.0, 0.02, 1.0, False], [4, 60.0, 0.04, 1.0, False]),
    ]
    assert (told["best"], told["elsewhere"]) == (2, False) and "2" in told["reason"]
    assert sent(queue, numbers(4))[0]["scores"] == told
    other = replace(view, summary=replace(view.summary, facts=(("base", "SDXL"),)))
    assert (read_scores(other) or {})["elsewhere"], "only the starter was checked"
    scores = [replace(view.summary.scores[0], distance=1e-300), replace(view.summary.scores[1], distance=1e100)]
    hostile = replace(view, summary=replace(view.summary, scores=tuple(scores)))
    assert json.dumps(read_scores(hostile), allow_nan=False)


def test_a_short_run_is_sent_as_it_is_and_gaps_are_gaps():
    found = points(numbers(3, losses=[0.5, math.nan, 0.25]), 10)
    assert (found["x"], found["loss"], found["steps"]) == ([1, 2, 3], [0.5, None, 0.25], 10)
    assert not found.keys() & {"low", "high", "norm", "memory"} and found["held"] == []
    assert points(numbers(2, norms=[1.0, 2.0]), 2)["norm"] == [1.0, 2.0]


def test_a_long_run_is_drawn_with_few_points_that_keep_its_extremes():
    losses = [1.0] * 50_000
    losses[31_234], losses[44_444] = 9.0, math.nan
    found = points(numbers(50_000, losses=losses), 50_000)
    assert bucket_size([*range(1, 50_001)]) == 64 and len(found["x"]) <= MOST_POINTS
    assert found["x"][-1] == 50_000 and max(each for each in found["high"] if each) == 9.0
    assert found["loss"].count(None) == 1 and max(each or 0 for each in found["loss"]) < 1.2
    assert bucket_size([]) == bucket_size([7]) == 1


def test_only_what_a_page_lacks_is_sent(queue: StudioQueue):
    whole, known = sent(queue, numbers(10))
    assert whole["from"] == 0 and len(whole["x"]) == 10
    more, later = sent(queue, numbers(12), known)
    assert (more["from"], more["x"]) == (10, [10, 11, 12]) and later != known
    for strange in ("", "x", "0.1:nine", "0.1:99999", "7.1:3"):
        assert sent(queue, numbers(12), strange)[0]["from"] == 0, strange
    _, long = sent(queue, numbers(1500))
    tail, _ = sent(queue, numbers(1501), long)
    assert tail["from"] == 1500 and tail["x"] == [1501]
    wider, _ = sent(queue, numbers(2500), long)  # its buckets are larger
    assert wider["from"] == 0 and len(wider["x"]) <= MOST_POINTS


def test_steps_that_are_trained_again_are_sent_again(queue: StudioQueue, tmp_path: Path):
    record, losses = Recorder(tmp_path), Losses(tmp_path)
    for step in (1, 2, 3):
        record("step", step=step, loss=0.5, lr=0.1)
    losses.read()
    _, known = sent(queue, losses.numbers())
    record("step", step=2, loss=0.4, lr=0.1)
    losses.read()
    again, _ = sent(queue, losses.numbers(), known)
    assert (again["from"], again["x"], again["loss"]) == (0, [1, 2], [0.5, 0.4])


def test_another_run_is_laid_over_by_its_name(queue: StudioQueue):
    write_run(queue.store.runs, "one", {"train": {"steps": 4, "warmup": 0}})
    write_run(queue.store.runs, "two", {"train": {"steps": 6, "warmup": 0}})
    assert graph_view.answer(queue, "one", "") == {"runs": ["two"]}
    assert graph_view.answer(queue, "one", "two")["points"]["x"] == [1, 2, 3, 4, 5, 6]
    assert graph_view.answer(queue, "one", "../two")["points"] is None


def test_where_a_run_is_to_be_drawn_follows_from_its_settings(tmp_path: Path):
    for every, planned in (('"auto"', [0, 100, 200, 300, 400, 500, 600]), ("250", [0, 250, 500, 600]), ("0", [0, 600])):
        text = f"schema_version = {VERSION}\n[sample]\nevery = {every}\n"
        (tmp_path / "config.toml").write_text(text, encoding="utf-8")
        assert planned_steps(Run(tmp_path), 600) == planned
    for broken in ("sample = 3", "[sample]\nevery = true", "[sample]\nevery = -4", "[["):
        (tmp_path / "config.toml").write_text(broken, encoding="utf-8")
        assert planned_steps(Run(tmp_path), 600) == [0, 600], broken


def test_lines_of_a_comparison_are_thinned_by_means():
    assert thinned([1, 2, 3], [5.0, 6.0, 7.0]) == [(1.0, 5.0), (2.0, 6.0), (3.0, 7.0)]
    long = thinned(range(1, 1001), [float(step) for step in range(1, 1001)])
    assert len(long) <= 240 and long[-1][0] == 1000
