"""Tables of `velatura sweep`: planned runs, and results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.cli.common.console import print_table, say
from app.units import counted, percent, readable_size, readable_time

if TYPE_CHECKING:
    from app.studio.sweeps.plan import SweepPlan
    from app.studio.sweeps.results import Result
    from app.studio.sweeps.sweep_file import Sweep
    from app.studio.sweeps.sweeps import Member


def tell_plan(plan: SweepPlan, dry_run: bool) -> None:
    """Print the planned runs of a sweep and their duration."""
    columns = ("run", *(axis.title for axis in plan.axes), "time")
    print_table(columns, [(run.name, *_texts(run.values), _time(run.wanted.expected)) for run in plan.runs])
    seconds = plan.seconds
    time = (
        f"about {readable_time(seconds)} one after the other"
        if seconds is not None
        else "of which the time is not known: nothing like them was measured here yet"
    )
    say((plan.name, "bold"), f": {counted(len(plan.runs), 'run')}, {time}{'; nothing was started' if dry_run else ''}")


def plan_facts(plan: SweepPlan) -> dict[str, Any]:
    """A planned sweep as plain data."""
    titles = [axis.title for axis in plan.axes]
    runs = [
        {"run": run.name, **dict(zip(titles, run.values, strict=True)), "seconds": run.wanted.expected}
        for run in plan.runs
    ]
    return {"sweep": plan.name, "axes": titles, "seconds": plan.seconds, "runs": runs}


def tell_results(sweep: Sweep, its_runs: Sequence[Member], results: Sequence[Result]) -> None:
    """Print the results of a sweep, means over seeds, descriptions of the columns and which run to keep."""
    from app.studio.sweeps.results import MEANINGS, advice, order_of
    from app.studio.sweeps.sweeps import progress

    with_held_out = any(result.held_out == result.held_out for result in results)
    scored = any(result.best is not None for result in results)
    # Names of runs include their values, and terminals may be 80 characters wide.
    columns = ["run", "state", *(["style", "step"] if scored else ["loss"]), *(["held-out"] if with_held_out else [])]
    rows = []
    for result in results:
        first = [_share(result.style), str(result.best or "–")] if scored else [_loss(result.loss)]
        held_out = [_loss(result.held_out)] if with_held_out else []
        sizes = [readable_size(size) if size else "–" for size in (result.file, result.memory)]
        rows.append([result.member.name, _state(result), *first, *held_out, _time(result.seconds or None), *sizes])
    columns += ["time", "file", "memory"]
    print_table(columns, rows)
    _tell_means(sweep, results, with_held_out, scored)
    for member in its_runs:
        if member.problem:
            say((member.problem, "yellow"))
    say((sweep.name, "bold"), f": {progress(its_runs).line}. {order_of(results)}")
    for column in columns:
        if column in MEANINGS:
            say(f"  {column}: {MEANINGS[column]}")
    if kept := advice(results):
        say((str(kept), "bold green"))


def _tell_means(sweep: Sweep, results: Sequence[Result], with_held_out: bool, scored: bool) -> None:
    from app.studio.sweeps.axes import SEED
    from app.studio.sweeps.results import means_over_seeds

    means = means_over_seeds(sweep.axes, results)
    if not means:
        return
    columns = [axis.short for axis in sweep.axes if SEED not in axis.keys]
    columns += ["seeds", "mean style" if scored else "mean loss", "spread"]
    rows = []
    for mean in means:
        style = [_share(each) for each in (mean.style, mean.style_spread)]
        numbers = style if scored else [_number(mean.loss), _number(mean.spread)]
        held_out = [_number(mean.held_out_loss)] if with_held_out else []
        rows.append([*_texts(mean.values), f"{mean.finished} of {mean.of}", *numbers, *held_out])
    print_table([*columns, *(["mean held-out"] if with_held_out else [])], rows)


def _share(value: float | None) -> str:
    return "–" if value is None or value != value else str(percent(value))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _state(result: Result) -> str:
    view = result.member.view
    if view is None or not view.summary.steps or view.summary.ended == "finished":
        return result.state
    return f"{result.state} {view.summary.step}/{view.summary.steps}"


def sweep_facts(sweep: Sweep, its_runs: Sequence[Member]) -> dict[str, Any]:
    """The progress of a sweep as plain data."""
    from app.studio.sweeps.sweeps import progress

    now = progress(its_runs)
    counts = {"done": now.done, "running": now.running, "waiting": now.waiting, "other": now.rest}
    return {"sweep": sweep.name, "axes": [a.title for a in sweep.axes], "of": now.of, **counts, "deleted": now.missing}


def _texts(values: tuple[Any, ...]) -> list[str]:
    from app.studio.sweeps.axes import text_of

    return [text_of(value) for value in values]


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else readable_time(seconds)


def _loss(value: float) -> str:
    return f"{value:.4f}" if value == value else "–"
