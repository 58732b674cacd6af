"""A sweep as template data: progress, pictures, results and losses of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import as_sentence
from app.jobs.permissions import Actor, NotOwnerError
from app.jobs.states import State
from app.studio.studio_queue import StudioQueue, share
from app.studio.sweeps.axes import METHOD, SEED, Axis, text_of
from app.studio.sweeps.pictures import make_grid, prompts
from app.studio.sweeps.results import Mean, Result, advice, means_over_seeds, order_of, ranked, read_result
from app.studio.sweeps.sweep_file import Sweep
from app.studio.sweeps.sweeps import Member, progress
from app.ui.components.controls import Button, Control
from app.ui.components.runs import text as run_words
from app.ui.components.runs.curve import Together, draw_together
from app.ui.components.runs.samples import SampleButton, read_sample
from app.ui.sweep import text as words
from app.units import number, percent, readable_size, readable_time
from trainers.messages import Message, joined

MOST_LINES = 8
"""Maximum number of lines in a figure, each with its own colour and dashes."""


@dataclass(frozen=True)
class Head:
    """The head of a sweep's page."""

    name: str
    kind: Message
    line: Message
    done: float
    """Progress, 0 to 1."""
    problems: tuple[str, ...]
    controls: tuple[Control, ...]
    reason: str
    """Why `actor` cannot change it; "" if they can."""


@dataclass(frozen=True)
class PictureRow:
    """A row of a table of pictures."""

    label: str
    samples: tuple[SampleButton | None, ...]


@dataclass(frozen=True)
class PictureTable:
    """Pictures of all runs: of one prompt, or a row per prompt."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[PictureRow, ...]


@dataclass(frozen=True)
class ResultRow:
    """The results of a run."""

    name: str
    values: tuple[str, ...]
    state: State | None
    """None if the run was deleted."""
    numbers: tuple[str | Message, ...]
    is_kept: bool
    keep: Button | None


@dataclass(frozen=True)
class MeanRow:
    """The mean of runs that differ only in their seed."""

    values: tuple[str, ...]
    finished: Message
    numbers: tuple[str | Message, ...]


@dataclass(frozen=True)
class Results:
    """The table of results and the losses."""

    axes: tuple[str, ...]
    columns: tuple[Message, ...]
    rows: tuple[ResultRow, ...]
    with_held_out: bool
    losses: Together | None
    is_cut: bool
    """Whether the figure leaves runs out."""
    means: tuple[MeanRow, ...] = ()
    """Means of runs that differ only in their seed."""
    mean_axes: tuple[str, ...] = ()
    scored: bool = False
    """Whether a run has a best step."""
    order: Message | None = None
    """What the rows are sorted by."""
    advice: Message | None = None
    """Which run to keep."""


def read_head(sweep: Sweep, members: Sequence[Member], actor: Actor) -> Head:
    """The head of a sweep's page."""
    views = [member.view for member in members if member.view is not None]
    done = sum(map(share, views)) / len(views) if views else 0.0
    reason = ""
    try:
        actor.check(sweep.name, sweep.owner)
    except NotOwnerError as error:
        reason = as_sentence(error)
    return Head(
        sweep.name,
        run_words.sweep_kind(sweep.axes),
        progress(members).line,
        done,
        tuple(member.problem for member in members if member.problem),
        _controls(members) if not reason else (),
        reason,
    )


def read_pictures(queue: StudioQueue, sweep: Sweep, members: Sequence[Member]) -> list[PictureTable]:
    """The newest pictures of each run: one table if they differ in one setting, else one for each prompt."""
    count = len(prompts(members))
    numbers = range(1, 2 if len(sweep.axes) == 1 else count + 1)
    tables = []
    for prompt in numbers if count else ():
        grid = make_grid(sweep.axes, members, prompt, _label)
        rows = tuple(
            PictureRow(
                row.label,
                tuple(
                    read_sample(sample, member.name, queue.public(member.view))
                    if sample is not None and member.view is not None
                    else None
                    for member, sample in row.cells
                ),
            )
            for row in grid.rows
        )
        tables.append(PictureTable(grid.title, grid.columns, rows))
    return tables


def read_results(queue: StudioQueue, sweep: Sweep, members: Sequence[Member], actor: Actor) -> Results:
    """Results of the runs, nearest in style first."""
    results = ranked([read_result(run, queue.losses(run.view.job.folder) if run.view else None) for run in members])
    with_held_out = any(result.held_out == result.held_out for result in results)
    scored = any(result.best is not None for result in results)
    style, held_out = (words.STYLE, words.BEST) if scored else (), (words.HELD_OUT,) if with_held_out else ()
    drawn = [result for result in results if result.member.view is not None and result.loss == result.loss]
    drawn.sort(key=lambda result: result.loss)
    curves = [
        (result.member.name, queue.losses(result.member.view.job.folder).curve())
        for result in drawn[:MOST_LINES]
        if result.member.view is not None
    ]
    may = actor.may_change(sweep.owner)
    return Results(
        tuple(map(run_words.axis_title, sweep.axes)),
        (*style, words.TIME, words.FILE, words.MEMORY, words.LOSS, *held_out),
        tuple(_result(sweep, result, with_held_out, scored, may) for result in results),
        with_held_out,
        draw_together(curves),
        len(drawn) > MOST_LINES,
        tuple(_mean(sweep, mean, with_held_out, scored) for mean in means_over_seeds(sweep.axes, results)),
        tuple(run_words.axis_title(axis) for axis in sweep.axes if SEED not in axis.keys),
        scored,
        order_of(results),
        advice(results),
    )


# ---------------------------------------------------------------- within
def _controls(members: Sequence[Member]) -> tuple[Control, ...]:
    now = progress(members)
    controls: list[Control] = []
    if now.waiting:
        controls += [Button(words.FIRST, "first"), Button(words.LAST, "last")]
    if now.running or now.waiting:
        controls.append(Button(words.STOP_ALL, "stop-all"))
    if now.rest:
        controls.append(Button(words.CONTINUE, "continue"))
    return tuple(controls)


def _result(sweep: Sweep, result: Result, with_held_out: bool, scored: bool, may: bool) -> ResultRow:
    member = result.member
    style = [_percent(result.style), str(result.best or words.UNKNOWN)] if scored else []
    held_out = [_loss(result.held_out)] if with_held_out else []
    sizes = [readable_size(size) if size else words.UNKNOWN for size in (result.file, result.memory)]
    time = readable_time(result.seconds) if result.seconds else words.UNKNOWN
    is_kept = sweep.kept == member.name
    keep = None
    if may and member.view is not None:
        keep = Button(words.KEEP, "keep", member.name, "small", name=words.KEEP_NAME.format(name=member.name))
        if is_kept:
            undo = words.UNKEEP_NAME.format(name=member.name)
            keep = Button(words.UNKEEP, "unkeep", member.name, "small", name=undo)
    return ResultRow(
        member.name,
        tuple(_text(axis, value) for axis, value in zip(sweep.axes, member.values, strict=True)),
        member.view.state if member.view is not None else None,
        (*style, time, *sizes, _loss(result.loss), *held_out),
        is_kept,
        keep,
    )


def _mean(sweep: Sweep, mean: Mean, with_held_out: bool, scored: bool) -> MeanRow:
    others = [axis for axis in sweep.axes if SEED not in axis.keys]
    compared = [_percent(mean.style), _percent(mean.style_spread)] if scored else [_loss(mean.loss), _loss(mean.spread)]
    held_out = [_loss(mean.held_out_loss)] if with_held_out else []
    return MeanRow(
        tuple(_text(axis, value) for axis, value in zip(others, mean.values, strict=True)),
        words.OF_SEEDS.format(count=mean.finished, total=mean.of),
        (*compared, *held_out),
    )


def _text(axis: Axis, value: Any) -> str:
    return run_words.method(str(value)) if axis.keys[0] == METHOD else text_of(value)


def _label(axis: Axis, value: Any) -> str:
    return (
        run_words.method(str(value))
        if axis.keys[0] == METHOD
        else joined(" ", (run_words.axis_title(axis), text_of(value)))
    )


def _loss(value: float | None) -> str:
    return words.UNKNOWN if value is None or value != value else number(f"{value:.4f}")


def _percent(value: float | None) -> str | Message:
    return words.UNKNOWN if value is None or value != value else percent(value)
