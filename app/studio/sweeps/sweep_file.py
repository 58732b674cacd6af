"""Files of sweeps: one for each sweep beside the runs, and one in each of its runs that refers to it.

A run without this file belongs to no sweep; a sweep with a deleted run has a gap.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from app.studio.names import alike
from app.studio.sweeps.axes import Axis
from app.studio.sweeps.plan import SweepPlan
from trainers.atomic_files import plain_disk_errors, whole_file
from trainers.errors import VelaturaError
from trainers.regular_files import read_inside

FOLDER = ".sweeps"
"""Hidden folder beside the runs."""
REFERENCE = "sweep.json"
"""File in a run's folder."""
VERSION = 1
MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Steps from a version to the next one."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class KeptAxis(_Kept):
    """An axis of a sweep."""

    keys: tuple[str, ...]
    values: tuple[Any, ...]


class KeptRun(_Kept):
    """A run of a sweep as it was planned."""

    name: str
    values: tuple[Any, ...]


class Sweep(_Kept):
    """A sweep."""

    version: int = VERSION
    id: str
    """Unique id; a later run with the name of one of its runs does not have it."""
    name: str
    owner: str = ""
    made: float
    """Unix seconds."""
    kept_axes: tuple[KeptAxis, ...]
    runs: tuple[KeptRun, ...]
    kept: str = ""
    """Name of the run chosen to keep; may be empty."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of its runs."""
        return tuple(Axis(axis.keys, axis.values) for axis in self.kept_axes)


class Reference(_Kept):
    """A run's reference to its sweep."""

    version: int = VERSION
    sweep: str
    """Name of the sweep."""
    id: str


def new_sweep(plan: SweepPlan, owner: str) -> Sweep:
    """A sweep of planned runs."""
    return Sweep(
        id=secrets.token_hex(8),
        name=plan.name,
        owner=owner,
        made=time.time(),
        kept_axes=tuple(KeptAxis(keys=axis.keys, values=axis.values) for axis in plan.axes),
        runs=tuple(KeptRun(name=run.name, values=run.values) for run in plan.runs),
    )


def sweep_file(runs: Path, name: str) -> Path:
    """Path of a sweep's file."""
    return runs / FOLDER / f"{name}.json"


def check_free(runs: Path, name: str) -> None:
    """Raise VelaturaError if a sweep has this name, ignoring case."""
    if any(alike(path.stem) == alike(name) for path in _files(runs)):
        raise VelaturaError("there is a sweep {name} already; choose another --name", name=name)


@contextmanager
def new_name(runs: Path, name: str) -> Iterator[None]:
    """Reserve the name of a sweep while its file is written. VelaturaError if a sweep has it."""
    folder = runs / FOLDER
    with plain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # concurrent starts
            check_free(runs, name)
            yield


def write_sweep(runs: Path, sweep: Sweep, folders: Sequence[Path]) -> None:
    """Write a sweep's file, and those in the folders of its runs first."""
    reference = Reference(sweep=sweep.name, id=sweep.id).model_dump_json()
    for folder in folders:
        with plain_disk_errors(folder / REFERENCE), whole_file(folder / REFERENCE) as building:
            building.write_text(reference, encoding="utf-8")
    place = sweep_file(runs, sweep.name)
    with plain_disk_errors(place):
        place.parent.mkdir(exist_ok=True)
        with whole_file(place) as building:
            building.write_text(sweep.model_dump_json(indent=1), encoding="utf-8")


def keep_run(runs: Path, sweep: Sweep, name: str) -> None:
    """Mark a run of a sweep as the one to keep, or with "" none. VelaturaError if it is not one of its runs."""
    if name and name not in {run.name for run in sweep.runs}:
        raise VelaturaError("{name} is not a run of the sweep {sweep}", name=name[:200], sweep=sweep.name)
    write_sweep(runs, sweep.model_copy(update={"kept": name}), ())


def remove_sweep(runs: Path, name: str) -> None:
    """Delete a sweep's file; its runs stay."""
    sweep_file(runs, name).unlink(missing_ok=True)


def read_sweep(runs: Path, name: str) -> Sweep:
    """The sweep of this untrusted name; VelaturaError if there is none, or its file is damaged or too new."""
    place = next((path for path in _files(runs) if path.stem == name), None)
    if place is None:
        raise VelaturaError("there is no sweep {name!r}; `velatura sweep` lists them", name=name[:200])
    return _read(place)


def _read(place: Path) -> Sweep:
    try:
        return _parse(json.loads(place.read_text(encoding="utf-8")), place)
    except (OSError, ArithmeticError, LookupError, ValueError, RecursionError, TypeError, AttributeError):
        raise VelaturaError(
            "the file of the sweep {name} is damaged; its runs are still there, and {place} can be deleted",
            name=place.stem,
            place=place,
        ) from None


def list_sweeps(runs: Path) -> tuple[list[Sweep], list[VelaturaError]]:
    """All sweeps, newest first, and the errors of unreadable ones."""
    sweeps: list[Sweep] = []
    problems: list[VelaturaError] = []
    for path in _files(runs):
        try:
            sweeps.append(_read(path))
        except VelaturaError as error:
            problems.append(error)
    return sorted(sweeps, key=lambda sweep: -sweep.made), problems


def reference_of(run: Path) -> Reference | None:
    """The sweep that a run refers to; None without one."""
    try:
        return Reference.model_validate_json(read_inside(run, REFERENCE))
    except (OSError, ValidationError, RecursionError):
        return None


# ---------------------------------------------------------------- within
def _files(runs: Path) -> list[Path]:
    folder = runs / FOLDER
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith(".")) if folder.is_dir() else []


def _parse(table: dict[str, Any], place: Path) -> Sweep:
    version = int(table["version"])
    if version > VERSION:
        raise VelaturaError(
            "the sweep {name} was made by a newer Velatura; update Velatura to open it", name=place.stem
        )
    while version < VERSION:
        table, version = MIGRATIONS[version](table), version + 1
    sweep = Sweep.model_validate(table)
    has_values = all(axis.keys and axis.values for axis in sweep.kept_axes) and sweep.kept_axes and sweep.runs
    if not has_values or sweep.name != place.stem or any(len(run.values) != len(sweep.kept_axes) for run in sweep.runs):
        raise ValueError("it does not hold together")
    return sweep
