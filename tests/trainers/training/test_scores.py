"""The scores that a run records with its samples: when, the same after a kill, and without an effect on anything."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.trainers.tiny_runs import equal, events_of, state_of, stopping_at, style_tensors
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.models.model import Model
from trainers.runs.events import Event
from trainers.runs.run import Run
from trainers.score import pictures
from trainers.score.recorded import best_of, recorded_scores, scores_of
from trainers.training.scores import score_run
from trainers.training.train import resume, train

PROMPTS = ["a fox", "an owl", "a ship", "a pear"]
LAYERS = {"train": {"steps": 6}, "save": {"every": 2}, "sample": {"every": "auto", "prompts": PROMPTS, "size": 32}}
TOO_HOT = {"train": {"learning_rate": 0.3}, "sample": {"every": 1}}
"""Its first step comes nearer to the style, and all others leave it."""
THIRDS = [0, 2, 4, 6]


@pytest.fixture(scope="module")
def scored(quick: Callable[..., Config], quick_runs: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that recorded scores."""
    return Run(train(quick(LAYERS), tmp_path_factory.mktemp("scored")).run)


def drawn(run: Run) -> dict[str, bytes]:
    return {str(path.relative_to(run.samples)): path.read_bytes() for path in run.samples.rglob("*.png")}


def test_scores_are_recorded_before_training_at_its_thirds_and_at_its_end(scored):
    scores = recorded_scores(scored.folder)
    assert {score.step for score in scores} >= set(THIRDS) and scores[-1].step == 6
    assert scores[0].change == 0 and all(score.change > 0 for score in scores[1:])
    assert all(score.variety is not None and score.variety > 0 for score in scores)
    assert {event["pictures"] for event in events_of(scored, "score")} == {len(PROMPTS)}


def test_scores_computed_later_are_those_that_were_recorded(scored):
    recorded = {score.step: score for score in recorded_scores(scored.folder)}
    for score in score_run(scored):
        assert (score.distance, score.change) == pytest.approx(
            (recorded[score.step].distance, recorded[score.step].change), abs=2e-3
        ), score.step


def test_computed_scores_are_recorded_in_a_run_that_has_none(quick, tmp_path):
    run = Run(train(quick(LAYERS, {"sample": {"score": False}}), tmp_path).run)
    assert recorded_scores(run.folder) == ()
    computed = score_run(run)
    recorded = recorded_scores(run.folder)
    assert [score.as_event() for score in recorded] == [score.as_event() for score in computed]
    assert best_of(recorded) is not None and events_of(run, "done")


def test_scoring_changes_neither_the_pictures_nor_the_style(scored, quick, tmp_path):
    run = Run(train(quick(LAYERS, {"sample": {"score": False}}), tmp_path).run)
    assert events_of(run, "score") == [] and drawn(run) == drawn(scored)
    assert equal(state_of(run, 6), state_of(scored, 6))
    (style, other) = (style_tensors(each.style / "dusk.safetensors") for each in (run, scored))
    assert equal(style, other)


def test_too_few_pictures_have_no_scores(quick, tmp_path):
    layers: dict[str, Any] = {"train": {"steps": 3}, "sample": {"every": "auto", "prompts": PROMPTS[:3]}}
    run = Run(train(quick(layers), tmp_path).run)
    assert events_of(run, "score") == []
    with pytest.raises(VelaturaError, match="has 3 pictures from before training, and scores need at least 4"):
        score_run(run)
    shutil.rmtree(run.samples)
    with pytest.raises(VelaturaError, match="has 0 pictures from before training"):
        score_run(run)


@pytest.mark.parametrize("kind", ["drawing", "score"])
def test_a_killed_run_records_the_scores_of_an_uncut_one(kind, scored, quick, tmp_path):
    def kill(event: Event) -> None:
        if event["type"] == kind and event["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(quick(LAYERS), tmp_path, listener=kill)
    run = Run(tmp_path / "dusk")
    resume(run)
    cut, uncut = ({s.step: s for s in recorded_scores(each.folder)} for each in (run, scored))
    assert cut == uncut


def test_a_run_that_an_earlier_version_began_scores_its_base_when_it_goes_on(scored, quick, tmp_path):
    run = Run(tmp_path / "dusk")
    train(quick(LAYERS), tmp_path, listener=stopping_at(run, 3))
    events = run.folder / "events.jsonl"
    lines = events.read_text(encoding="utf-8").splitlines(keepends=True)
    events.write_text("".join(line for line in lines if '"type": "score"' not in line), encoding="utf-8")
    resume(run)
    scores = recorded_scores(run.folder)
    assert scores[0] == recorded_scores(scored.folder)[0] and best_of(scores) is not None


def early_stops(run: Run) -> list[tuple[int, int, int]]:
    return [(event["step"], event["nearest"], event["further"]) for event in events_of(run, "early_stop")]


@pytest.fixture(scope="module")
def left(quick: Callable[..., Config], quick_runs: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that left the style and kept one checkpoint."""
    keeping = {"train": {"early_stop": "advise"}, "save": {"every": 1, "keep": 1}}
    return Run(train(quick(LAYERS, TOO_HOT, keeping), tmp_path_factory.mktemp("left")).run)


def test_a_run_is_told_once_that_it_no_longer_comes_nearer(left):
    assert early_stops(left) == [(3, 1, 2)] and events_of(left, "done")[0]["step"] == 6
    told = "Step 1 is still the nearest to your style after 2 further samples: you can stop here."
    assert (left.folder / "log.txt").read_text("utf-8").count(told) == 1


def test_the_style_of_the_best_step_is_kept_when_its_checkpoint_goes(left):
    best = best_of(recorded_scores(left.folder))
    assert best is not None and best.score is not None and best.score.step == 1
    assert left.checkpoint_steps() == [6] and style_tensors(left.list_snapshots()[1])
    assert not equal(style_tensors(left.snapshot(1)), style_tensors(left.snapshot(6)))


def test_early_stopping_ends_a_run_as_stopping_by_hand_does(quick, tmp_path):
    early, by_hand = quick(LAYERS, TOO_HOT, {"train": {"early_stop": "act"}}), Run(tmp_path / "by hand" / "dusk")
    ended = train(early, tmp_path)
    asked = train(quick(LAYERS, TOO_HOT), by_hand.folder.parent, listener=stopping_at(by_hand, 3))
    run = Run(ended.run)
    assert (ended.stopped_by, ended.steps) == (asked.stopped_by, asked.steps) == ("request", 3)
    assert equal(style_tensors(ended.style), style_tensors(asked.style)) and events_of(run, "stopped")
    assert early_stops(run) == [(3, 1, 2)] and "so the run ends early" in (run.folder / "log.txt").read_text("utf-8")
    assert resume(run).steps == 6 and early_stops(run) == [(3, 1, 2)]  # whoever continues it wants more


@pytest.mark.parametrize("kind", ["early_stop", "export"])
def test_a_run_that_was_killed_while_it_ended_early_ends_again(kind, quick, tmp_path):
    def kill(event: Event) -> None:
        if event["type"] == kind:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(quick(LAYERS, TOO_HOT, {"train": {"early_stop": "act"}}), tmp_path, listener=kill)
    run = Run(tmp_path / "dusk")
    assert resume(run).steps == 3 and early_stops(run) == [(3, 1, 2)]


def test_a_rollback_removes_the_scores_of_later_steps() -> None:
    events = [
        *({"type": "score", "step": step, "distance": 1.0, "change": 0.1, "error": 0.1} for step in (0, 10, 20)),
        {"type": "rollback", "step": 25, "saved": 10},
        {"type": "score", "step": 10, "distance": 0.5, "change": 0.2, "error": 0.1},
    ]
    assert [(score.step, score.distance) for score in scores_of(events)] == [(0, 1.0), (10, 0.5)]


@pytest.mark.parametrize(("every", "steps"), [(2, 6), ("auto", 120)])
def test_scoring_takes_at_most_a_tenth_of_the_work_of_a_run(every, steps, quick, tmp_path, monkeypatch):
    """Counted by what passes through the denoiser and the VAE, in pictures, with the denoising of a usual run."""
    work: Counter[str] = Counter()
    kind = ["run"]

    def counted(original: Callable[..., Any], weight: Callable[[Any], int]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            work[kind[0]] += weight(arguments[1])
            return original(*arguments, **named)

        return call

    def observe(model: Model, images: torch.Tensor) -> Any:
        kind[0] = "score"
        work["score"] += len(images)  # encoding them, as a drawing decodes them
        try:
            return at_once(model, images)
        finally:
            kind[0] = "run"

    at_once = pictures.observe
    monkeypatch.setattr(pictures, "observe", observe)
    monkeypatch.setattr(Model, "predict", counted(Model.predict, len))
    sample = {"every": every, "steps": 25, "size": 16, "guidance": 7.0}
    train(quick(LAYERS, {"train": {"steps": steps}, "save": {"every": 60}, "sample": sample}), tmp_path)
    assert work["score"] and work["score"] <= 0.1 * (work["run"] + work["score"])
