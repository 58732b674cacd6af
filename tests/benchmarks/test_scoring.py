from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.scoring.plan import METHODS, Plan, plans
from benchmarks.scoring.report import broken_found, excess, marked, spearman, within_run, write_report
from benchmarks.scoring.results import BEFORE, Measured, read_results
from benchmarks.styles.resampling import interval
from benchmarks.styles.sets import NEVER_TUNED, STYLES

PLAN = Plan("two-inks", "lora", 1.0, 60, "good")


def measured(states: dict[str, tuple[float, float, float]], error: float = 0.01) -> Measured:
    """A run of these states: true style and content, the product's score and, as large, the change."""
    before = (1.0, 1.0, 1.0)
    figures = {
        state: {
            "truth_style": [truth] * 3,
            "truth_content": [content] * 3,
            "whitened middle 0.5": [score] * 3,
            "change middle 0.5": [1 - score] * 3,
            "error middle 0.5": [error] * 3,
            "variety middle 0.5": [1.0] * 3,
        }
        for state, (truth, content, score) in ({BEFORE: before} | states).items()
    }
    return Measured(PLAN, figures, {})


def test_every_style_has_four_good_runs_of_all_methods_and_two_bad_ones() -> None:
    every = list(plans())
    assert len({plan.name for plan in every}) == len(every) == 48
    for style in STYLES:
        kinds = Counter(plan.kind for plan in every if plan.style == style)
        assert kinds == {"good": 4, "hot": 1, "long": 1} | ({"today": 4} if style in NEVER_TUNED else {})
        assert {plan.preset for plan in every if plan.style == style and plan.kind == "good"} == set(METHODS)
    assert [each.settings()["targets"]["unet"] for each in (every[0], every[-1])] == ["attn", "full"]
    steps = every[0].states
    assert len(steps) == 9 and steps[:2] == [(10, 1.0), (20, 1.0)] and steps[-1] == (60, 1.25)


def test_spearman_is_that_of_the_ranks() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert spearman([1, 2, 3], [9, 4, 1]) == pytest.approx(-1)
    assert spearman([1, 1, 2], [1, 2, 3]) == pytest.approx(3**0.5 / 2)  # ranks ½, ½, 2 and 0, 1, 2
    assert spearman([5, 5, 5], [1, 2, 3]) == 0


def test_the_interval_holds_the_mean_and_narrows_with_the_number_of_runs() -> None:
    mean, low, high = interval([0.0, 1.0] * 8)
    assert mean == 0.5 and low == pytest.approx(0.5 - 1.96 * 0.125, abs=0.03) and low < 0.5 < high
    assert interval([0.3, 0.3]) == pytest.approx((0.3, 0.3, 0.3))


def test_the_mark_takes_the_least_change_and_nothing_within_the_noise() -> None:
    run = measured({"20@1": (0.7, 1.0, 0.52), "40@1": (0.6, 1.0, 0.5), "60@1": (0.65, 1.0, 0.8)})
    assert marked(0.9, 1.0)(run, 0) == "20@1"  # 0.48 of a best gain of 0.5, and the smaller change
    assert marked(1.0, 1.0)(run, 0) == "40@1"
    assert excess(run, marked(0.9, 1.0)) == pytest.approx([0.7 / 0.6 - 1] * 3)
    assert marked(0.9, 1.0)(measured({"60@1": (0.6, 1.0, 0.995)}), 0) is None
    assert within_run(run, "whitened middle 0.5") == pytest.approx(0.5)


def test_broken_pictures_are_found_by_the_larger_figure() -> None:
    run = measured({"20@1": (0.7, 1.0, 0.6), "40@1": (0.6, 1.2, 0.4), "60@1": (0.6, 1.1, 0.3)})
    assert broken_found([run], "change middle 0.5") == 0.5  # 0.6 against 0.4 and 0.7


def test_the_page_is_written_from_the_runs_there_are(tmp_path: Path) -> None:
    runs = list(read_results().values())
    write_report(runs, tmp_path / "whole.md")
    page = (tmp_path / "whole.md").read_text(encoding="utf-8")
    assert page == (Path(__file__).parents[2] / "docs" / "scoring.md").read_text(encoding="utf-8")
    assert len(runs) == 48 and "Not yet measured" not in page
    part = [run for run in runs if run.plan.style not in NEVER_TUNED][:4]
    write_report(part, tmp_path / "part.md")
    missing = ", ".join(plan.name for plan in plans() if plan not in {run.plan for run in part})
    assert f"Not yet measured: {missing}.\n" in (tmp_path / "part.md").read_text(encoding="utf-8")
