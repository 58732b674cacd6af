"""The page on which score deserves trust: correlations with the truth, and what each rule would have chosen."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch

from benchmarks.scoring.plan import METHODS, SEEDS, plans
from benchmarks.scoring.results import BEFORE, Measured
from benchmarks.styles.resampling import interval
from benchmarks.styles.sets import NEVER_TUNED, STYLES
from tools.markdown import table
from trainers.score.best import NOISE, SHARE, find_best
from trainers.score.score import Score

TEMPLATE = Path(__file__).with_name("page.md")
RUN_HEADS = ("run", "kind", "truth, last step", "truth, best", "score, last step", "content", "change", "variety")
OWN = "middle 0.5"
"""The place where the product looks."""
PROXIES: Mapping[str, str] = MappingProxyType(
    {
        f"whitened {OWN}": "**own activations, middle block, T/2, in units of the spread** (what the product uses)",
        f"plain {OWN}": "the same, not in units of the spread",
        "whitened middle 0.1": "own activations, middle block, T/10, in units of the spread",
        "whitened first 0.5": "own activations, first block, T/2, in units of the spread",
        "whitened first 0.1": "own activations, first block, T/10, in units of the spread",
        "plain first 0.1": "the same, not in units of the spread",
        "whitened latents": "latents' means and deviations, in units of the spread",
        "gram": "Gram distance by EfficientNet-Lite0",
        "colours": "colour histogram",
        f"change {OWN}": "change from the base's pictures (less is better)",
        "nearest": "likeness to the nearest training picture (less is better)",
    }
)
"""Scores of new subjects that see no truth, and their names."""
BROKEN = 1.15
"""Share of the base's distance in content from which pictures count as broken."""
GOOD_ENOUGH = 1.05
"""A choice within this share of the best state by truth is good."""
Pick = Callable[[Measured, int], str | None]
"""The state that a rule chooses from one drawing seed's figures; None chooses nothing."""


def write_report(runs: Sequence[Measured], page: Path) -> None:
    """Write the page from the runs there are."""
    page.write_text(TEMPLATE.read_text(encoding="utf-8").format(**_facts(runs)), encoding="utf-8")


# ---------------------------------------------------------------- statistics
def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, equal values at their mean rank; 0 if either does not vary."""
    x, y = (torch.tensor(_ranks(values), dtype=torch.float64) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    size = float(x.norm() * y.norm())
    return float(x @ y) / size if size else 0.0


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def _shown(values: Sequence[float], places: int = 2) -> str:
    if not values:
        return "–"
    mean, low, high = interval(values)
    return f"{mean:.{places}f} ({low:.{places}f} to {high:.{places}f})"


def within_run(run: Measured, proxy: str, truth: str = "truth_style") -> float:
    """Spearman's correlation of a score with a truth over a run's states, mean of the drawing seeds."""
    truths = [run.mean(state, truth) for state in run.states]
    return statistics.mean(
        spearman([run.figures[state][proxy][seed] for state in run.states], truths) for seed in range(len(SEEDS))
    )


def held_out_correlation(run: Measured) -> float:
    """The same of the held-out loss, over the steps at strength 1."""
    steps = [state for state in run.at_one if state.split("@")[0] in run.held_out]
    losses = [run.held_out[state.split("@")[0]] for state in steps]
    return spearman(losses, [run.mean(state, "truth_style") for state in steps])


# ---------------------------------------------------------------- rules
def marked(share: float, noise: float) -> Pick:
    """The product's rule with these thresholds."""

    def pick(run: Measured, seed: int) -> str | None:
        def score(number: int, state: str) -> Score:
            kinds = ("whitened", "change", "error", "variety")
            distance, change, error, variety = (run.figures[state][f"{kind} {OWN}"][seed] for kind in kinds)
            return Score(number, distance, change, error, variety=variety)

        scores = {score(number, state): state for number, state in enumerate(run.states, 1)}
        best = find_best(score(0, BEFORE), list(scores), share, noise).score
        return None if best is None else scores[best]

    return pick


def lowest_held_out(run: Measured, _seed: int) -> str:
    """The step with the lowest held-out loss."""
    steps = {state: run.held_out.get(state.split("@")[0], float("inf")) for state in run.at_one}
    return min(steps, key=steps.__getitem__)


RULES: Mapping[str, Pick] = MappingProxyType(
    {
        "the last step": lambda run, _: run.last,
        "the lowest held-out loss": lowest_held_out,
        "the nearest in style": marked(1.0, NOISE),
        "least change with 80 % of the best gain": marked(0.8, NOISE),
        f"**least change with {SHARE:.0%} of the best gain** (the mark)": marked(SHARE, NOISE),
    }
)


def excess(run: Measured, pick: Pick) -> list[float]:
    """By how much each seed's choice is farther from the truth than the best state; the last step if it has none."""
    best = min(run.truth(state) for state in run.states)
    return [run.truth(pick(run, seed) or run.last) / best - 1 for seed in range(len(SEEDS))]


def _rule_row(runs: Sequence[Measured], name: str) -> tuple[str, ...]:
    good = [run for run in runs if run.plan.kind in ("good", "today")]
    if not good:
        return name, "–", "–", "–", "–"
    values = [value for run in good for value in excess(run, RULES[name])]
    differences = [
        statistics.mean(run.truth(RULES[name](run, seed) or run.last) - run.truth(run.last) for seed in range(3))
        for run in runs
    ]
    none = sum(RULES[name](run, seed) is None for run in runs for seed in range(len(SEEDS)))
    near = sum(value <= GOOD_ENOUGH - 1 for value in values)
    mean = f"{statistics.mean(values):.1%}"
    return name, f"{near} of {len(values)}", mean, _shown(differences, 3), f"{none} of {len(SEEDS) * len(runs)}"


# ---------------------------------------------------------------- the page
def _facts(runs: Sequence[Measured]) -> dict[str, object]:
    """What the page's text leaves open."""
    today = [run for run in runs if run.plan.kind == "today"]
    runs = [run for run in runs if run.plan.kind != "today"]
    tuned = [run for run in runs if run.plan.style not in NEVER_TUNED]
    others = [run for run in runs if run.plan.style in NEVER_TUNED]
    missing = [plan.name for plan in plans() if plan.name not in {run.plan.name for run in (*runs, *today)}]
    return {
        "count": len(runs),
        "methods": ", ".join(f"`{method}`" for method in METHODS),
        "missing": f"Not yet measured: {', '.join(missing)}.\n\n" if missing else "",
        "verdict": _verdict(others),
        "correlations": _correlations(tuned, others),
        "chosen_on": _rules(tuned),
        "never_used": _rules(others),
        "today": _rules(today),
        "today_correlation": _shown([within_run(run, f"whitened {OWN}") for run in today]),
        "by_run": _table(RUN_HEADS, [_run_row(run) for run in (*runs, *today)]),
        "broken": BROKEN,
        "change_finds": broken_found(runs, f"change {OWN}"),
        "score_finds": broken_found(runs, f"whitened {OWN}"),
    }


def _correlations(*groups: Sequence[Measured]) -> str:
    rows = [
        (name, *(_shown([within_run(run, proxy) for run in group]) for group in groups))
        for proxy, name in PROXIES.items()
    ]
    rows.append(("held-out loss", *(_shown([held_out_correlation(run) for run in group]) for group in groups)))
    return _table(("score", "three styles that chose", "three styles never used"), rows)


def _rules(runs: Sequence[Measured]) -> str:
    heads = ("rule", "within 5 %", "excess", "difference to the last step", "chooses nothing")
    return _table(heads, [_rule_row(runs, name) for name in RULES])


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(table(headings, rows))


def _verdict(others: Sequence[Measured]) -> str:
    if not others:
        return ""
    mean, low, _high = interval([within_run(run, f"whitened {OWN}") for run in others])
    passed = "at least 0.5, so it is used" if low >= 0.5 else "below 0.5, so no step is marked by it"
    near = {name: _rule_row(others, name)[1] for name in RULES}
    *_, mark = near.values()
    return (
        f"**On styles never used for choosing, the marked step is within 5 % of the run's best in {mark} cases, and "
        f"the last step in {near['the last step']}.** The product's score correlates with the truth at {mean:.2f}, its "
        f"lower bound is {low:.2f}: {passed}."
    )


def _run_row(run: Measured) -> tuple[str, ...]:
    plan, last = run.plan, run.last
    score = run.mean(last, f"whitened {OWN}") / run.mean(BEFORE, f"whitened {OWN}")
    return (
        f"{plan.style}, {plan.preset} × {plan.factor:g}, {plan.steps} steps",
        plan.kind,
        f"{run.truth(last):.2f}",
        f"{min(run.truth(state) for state in run.states):.2f}",
        f"{score:.2f}",
        f"{run.truth(last, 'truth_content'):.2f}",
        f"{run.mean(last, f'change {OWN}'):.2f}",
        f"{run.truth(last, f'variety {OWN}'):.2f}",
    )


def broken_found(runs: Sequence[Measured], kind: str) -> float:
    """How often a broken state has a larger figure than a whole one of its style: the area under the ROC curve."""
    shares = []
    for style in STYLES:
        states = [(run, state) for run in runs if run.plan.style == style for state in run.states]
        figures = [(run.mean(state, kind), run.truth(state, "truth_content") >= BROKEN) for run, state in states]
        broken, whole = ([figure for figure, is_broken in figures if is_broken == wanted] for wanted in (True, False))
        shares += [float(a > b) + 0.5 * (a == b) for a in broken for b in whole]
    return statistics.mean(shares) if shares else float("nan")
