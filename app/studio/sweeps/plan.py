"""Plans a sweep: its runs with their names and checked settings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.jobs.permissions import Actor
from app.jobs.settings import check_run
from app.studio.names import alike
from app.studio.runs.estimates import Measured
from app.studio.settings.plan import nested
from app.studio.sweeps.axes import METHOD, Axis, check_axes, name_part
from app.studio.sweeps.batch import Wanted
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.messages import joined

MOST_RUNS = 100
"""Maximum number of runs of a sweep."""
MOST_PROBLEMS = 3
"""Maximum number of reported problems."""
Make = Callable[[str | None, Mapping[str, Any]], Config]
"""Makes a run's config from a method (None for the preset's) and settings with the name."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of a sweep."""

    name: str
    values: tuple[Any, ...]
    """One value of each axis."""
    wanted: Wanted


@dataclass(frozen=True)
class SweepPlan:
    """All runs of a sweep, in the order in which they are queued."""

    name: str
    axes: tuple[Axis, ...]
    runs: tuple[PlannedRun, ...]

    @property
    def seconds(self) -> float | None:
        """Duration of all runs one after the other; None if unknown."""
        known = [run.wanted.expected for run in self.runs if run.wanted.expected is not None]
        return sum(known) if len(known) == len(self.runs) else None


def plan_sweep(
    name: str, axes: Sequence[Axis], make: Make, runs: Path, measured: Measured | None = None, pictures: int = 0
) -> SweepPlan:
    """The runs of a sweep under the names `NAME-lora-r4-s1`.

    Args:
        name: Name of the sweep.
        axes: The axes of the sweep.
        make: Makes a config.
        runs: The folder of runs, in which the names must be free.
        measured: Measurements of time and memory.
        pictures: Number of training images.

    Raises:
        VelaturaError: There are too few or too many runs, or one of them is invalid.
    """
    _check_count(check_axes(axes))
    planned: list[PlannedRun] = []
    problems: list[VelaturaError] = []
    names = set[str]()
    taken = {alike(path.name) for path in runs.iterdir()} if runs.is_dir() else set()
    for values in itertools.product(*(axis.values for axis in axes)):
        run = "-".join([name, *(name_part(axis, value) for axis, value in zip(axes, values, strict=True))])
        run = _unlike(run, names)  # names cannot show every difference of values
        names.add(alike(run))
        try:
            if alike(run) in taken:
                raise VelaturaError("a run of this name exists; choose another --name")
            wanted = _wanted(run, axes, values, make, measured, pictures)
            check_run(wanted.config, Actor())
            planned.append(PlannedRun(run, values, wanted))
        except VelaturaError as error:
            problems.append(VelaturaError("{run}: {problem}", run=run, problem=error.message))
    if problems:
        raise _together(problems, len(planned) + len(problems))
    return SweepPlan(name, tuple(axes), tuple(planned))


# ---------------------------------------------------------------- within
def _wanted(
    name: str, axes: Sequence[Axis], values: Sequence[Any], make: Make, measured: Measured | None, pictures: int
) -> Wanted:
    pairs = [(key, value) for axis, value in zip(axes, values, strict=True) for key in axis.keys]
    method = next((str(value) for key, value in pairs if key == METHOD), None)
    config = make(method, nested({key: value for key, value in pairs if key != METHOD}) | {"name": name})
    if measured is None:
        return Wanted(config)
    cost = measured.cost(config, pictures)
    return Wanted(config, measured.seconds(config, pictures), cost.memory / 1e9 if cost is not None else 0.0)


def _unlike(name: str, names: set[str]) -> str:
    numbered = (name if number == 1 else f"{name}-{number}" for number in range(1, MOST_RUNS + 2))
    return next(each for each in numbered if alike(each) not in names)


def _check_count(axes: Sequence[Axis]) -> None:
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count < 2:
        raise VelaturaError(
            "a sweep compares at least two runs; give several values, such as --grid method.rank=4,8,16, "
            "--methods lora,loha or --seeds 3"
        )
    if count > MOST_RUNS:
        raise VelaturaError(
            "these are {count} runs, and a sweep has at most {most}; leave some values out, or make several sweeps",
            count=count,
            most=MOST_RUNS,
        )


def _together(problems: Sequence[VelaturaError], of: int) -> VelaturaError:
    if len(problems) == 1:
        return VelaturaError("nothing was started: {problem}", problem=problems[0].message)
    more = ["…"] if len(problems) > MOST_PROBLEMS else []
    return VelaturaError(
        "nothing was started, {count} of {of} runs are not valid: {problems}",
        count=len(problems),
        of=of,
        problems=joined("; ", [*(problem.message for problem in problems[:MOST_PROBLEMS]), *more]),
    )
