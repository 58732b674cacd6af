"""The results of a sweep: what ranks its runs, and what only stands beside."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from app.jobs.states import State
from app.jobs.store import Store
from app.jobs.views import Watcher
from app.studio.sweeps.axes import Axis
from app.studio.sweeps.results import (
    RANKED,
    UNRANKED,
    Result,
    advice,
    as_csv,
    means_over_seeds,
    order_of,
    ranked,
    read_result,
)
from app.studio.sweeps.sweep_file import Sweep
from app.studio.sweeps.sweeps import members
from tests.app.studio.sweeps.made import write_ended_sweep
from tests.app.ui.ended_runs import write_scores
from trainers.runs.events import Recorder

RANKS = Axis(("method.rank",), (4, 8, 16))


def results_of(store: Store, sweep: Sweep) -> list[Result]:
    return ranked([read_result(member) for member in members(sweep, Watcher(store).history())])


def names(results: list[Result]) -> list[str]:
    return [result.member.name for result in results]


def test_the_nearest_in_style_comes_first_whatever_the_losses_say(store) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", RANKS)
    for rank, held_out in ((4, 0.1), (8, 0.2), (16, 0.3)):
        Recorder(store.runs / f"dusk-r{rank}")("held_out", step=20, loss=held_out)
    write_scores(store.runs / "dusk-r8", 10, (10, 20), nearest=7.0)
    write_scores(store.runs / "dusk-r16", 20, (10, 20), nearest=5.0)
    results = results_of(store, sweep)
    assert names(results) == ["dusk-r16", "dusk-r8", "dusk-r4"] and order_of(results) == RANKED
    assert [(result.best, result.style) for result in results[:2]] == [(20, 0.5), (10, 0.7)]
    assert results[2].best is None and results[2].held_out == 0.1
    row = next(csv.DictReader(io.StringIO(as_csv(sweep.axes, results))))
    assert (row["run"], row["best_step"], row["style"], row["held_out_loss"]) == ("dusk-r16", "20", "0.5", "0.3")


def test_one_sentence_says_which_run_to_keep(store) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", RANKS)
    write_scores(store.runs / "dusk-r8", 10, (10, 20), nearest=6.9)
    results = results_of(store, sweep)
    kept = str(advice(results))
    assert kept.startswith("Keep dusk-r8: 31% nearer to your style than the base, in ")
    assert " kB. Step " in kept and kept.endswith("As near within the noise of seeds, with more change: step 20.")
    assert results[2].member.view is not None
    training = replace(results[2].member.view, state=State.TRAINING)
    results[2] = replace(results[2], member=replace(results[2].member, view=training))
    assert advice(results) is None  # it may still become better


def test_without_scores_runs_stay_in_the_order_of_the_sweep(store) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", RANKS)
    with (store.runs / "dusk-r4" / "events.jsonl").open("a", encoding="utf-8") as events:
        events.write('{"type": "error", "time": 1, "message": "no"}\n')
    results = results_of(store, sweep)
    assert names(results) == ["dusk-r4", "dusk-r8", "dusk-r16"]
    assert order_of(results) == UNRANKED and advice(results) is None and all(result.file > 0 for result in results)


def test_a_sweep_without_a_best_step_explains_why(store) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", RANKS)
    for rank in RANKS.values:
        write_scores(store.runs / f"dusk-r{rank}", 10, (10, 20), nearest=11)
    results = results_of(store, sweep)
    assert order_of(results) == UNRANKED
    assert [str(advice(results)).count(f"dusk-r{rank}: No step came nearer") for rank in RANKS.values] == [1, 1, 1]


def test_means_over_seeds_say_how_far_their_runs_differ(store) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", RANKS, Axis(("seed",), (0, 1)))
    for rank, nearest in ((8, 5.0), (16, 7.0)):
        for seed in (0, 1):
            write_scores(store.runs / f"dusk-r{rank}-s{seed}", 20, (10, 20), nearest=nearest - seed)
    results = results_of(store, sweep)
    means = means_over_seeds(sweep.axes, results)
    assert [(mean.values, mean.finished, mean.style) for mean in means] == [
        ((8,), 2, 0.45),
        ((16,), 2, 0.65),
        ((4,), 2, None),
    ]
    assert means[0].style_spread == pytest.approx(0.1) and means[2].style_spread is None
    losses = [result.loss for result in results if result.member.values[0] == 4]
    assert means[2].loss == pytest.approx(sum(losses) / 2, abs=1e-6)
    assert means[2].spread == pytest.approx(max(losses) - min(losses), abs=1e-6) and means[2].held_out_loss is None
    assert means_over_seeds(sweep.axes[:1], results) == []


@pytest.mark.parametrize("early", [False, True])
def test_a_run_that_ended_early_counts_in_the_mean_and_one_stopped_by_hand_does_not(early, store) -> None:
    sweep = write_ended_sweep(store.runs, "dusk", RANKS, Axis(("seed",), (0, 1)))
    record = Recorder(store.runs / "dusk-r8-s0")
    if early:
        record("early_stop", step=20, nearest=10, further=2, message="It ends early.")
    record("stopped", step=20, seconds=1.0)
    mean = next(mean for mean in means_over_seeds(sweep.axes, results_of(store, sweep)) if mean.values == (8,))
    assert mean.finished == 1 + early
