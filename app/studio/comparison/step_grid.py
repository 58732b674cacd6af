"""The steps of a run at several strengths: the pictures that it drew itself, and those that generations add."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from app.jobs.permissions import Actor
from app.jobs.view import View
from app.studio.comparison.votes import Candidate
from app.studio.generation.cells import cells_of
from app.studio.generation.generations import OF_RUN, Generations
from app.studio.generation.request import GenerateRequest, make_request, read_request
from app.studio.generation.state import Generation
from app.studio.generation.values import read_line
from app.studio.runs.chosen import in_closer_choice, snapshots
from app.studio.runs.samples import find_steps, prompts_of
from trainers.config.limits import AxisKind
from trainers.config.techniques import TEXTUAL_INVERSION
from trainers.runs.events import read_events
from trainers.runs.run import Run

STRENGTHS, AS_TRAINED = "1, 0.8, 0.6", 1.0
"""The usual strengths, and that at which a run draws its samples."""
USUAL_ROWS = 4
Row = tuple[str, int]
"""A prompt with a seed."""
Place = tuple[int, int, float]
"""The number of a row, the step and the strength of a picture."""


@dataclass(frozen=True)
class StepGrid:
    """The pictures of a run, and how to draw those that are missing."""

    style: str
    """Id of the run's style in the library."""
    settings: dict[str, Any]
    """How the run draws."""
    every_row: tuple[Row, ...]
    distinct: tuple[int, ...]
    """Numbers of the rows without repetitions."""
    rows: tuple[int, ...]
    """Numbers of the compared rows."""
    steps: tuple[int, ...]
    strengths: tuple[float, ...]
    pictures: dict[Place, Path]
    coming: frozenset[Place]
    """Places that are being drawn."""
    going: Generation | None
    """The generation that is drawn or comes next."""
    problems: tuple[str, ...]
    """Sentences on wrong values, on what cannot be drawn, and on the newest drawing if it failed."""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Steps and strengths with a picture."""
        return tuple(sorted({(step, strength) for _, step, strength in self.pictures}))

    @property
    def places(self) -> list[Place]:
        """All compared places, row by row."""
        return list(product(self.rows, self.steps, self.strengths))

    @property
    def missing(self) -> list[Place]:
        """Places without a picture that none is being drawn for."""
        return [place for place in self.places if place not in self.pictures and place not in self.coming]

    def requests(self) -> Iterator[GenerateRequest]:
        """The generations of what is missing: one for each row and the strengths that lack the same steps."""
        missing = set(self.missing)
        for row in self.rows:
            lacking: dict[tuple[int, ...], list[float]] = {}
            for strength in self.strengths:
                steps = tuple(step for step in self.steps if (row, step, strength) in missing)
                lacking.setdefault(steps, []).append(strength)
            lacking.pop((), None)
            prompt, seed = self.every_row[row]
            for steps, strengths in lacking.items():
                style = {"style": self.style, "strength": strengths[0]}
                axes = {"step": steps} | ({"strength": strengths} if len(strengths) > 1 else {})
                series = {"prompts": (prompt,), "seed": seed, "styles": [style], "axes": axes, "compare": False}
                yield make_request(**self.settings, **series)


class StepGrids:
    """The grids of a studio's runs. Their generations are stored under keys of the runs, not of people."""

    def __init__(self, generations: Generations) -> None:
        self.generations = generations

    def read(self, view: View, steps: str = "", strengths: str = "", rows: Sequence[int] = ()) -> StepGrid | None:
        """The grid of a run, with steps and strengths as typed, by default the usual ones; None without a style."""
        style = self.generations.library.of_run(view.job.folder.name)
        if style is None:
            return None
        every_row, settings = _read_run(view)
        steps = steps or ", ".join(map(str, in_closer_choice(view)))
        typed = {"step": steps} | ({} if style.method == TEXTUAL_INVERSION else {"strength": strengths or STRENGTHS})
        style_of = {"prompts": ("-",), "styles": [{"style": style.id}], "axes": typed}
        request, problems = read_request(settings | style_of)
        checked = self.generations.check(request, problems)
        values: dict[AxisKind, Any] = {axis.kind: axis.values for axis in checked.axes}
        distinct = tuple(row for row, each in enumerate(every_row) if every_row.index(each) == row)
        compared = tuple(row for row in rows if row in distinct) or distinct[:USUAL_ROWS]
        every = set(product(compared, values.get("step", ()), values.get("strength", (AS_TRAINED,))))
        drawings = self.generations.history(self._key(view))
        alike = [each for each in drawings if all(getattr(each.request, n) == getattr(request, n) for n in settings)]
        pictures = {place: path for place, path in _pictures(view, every_row, alike) if place in every}
        active = [drawing for drawing in reversed(alike) if not drawing.ended]
        coming = {place for drawing in active for place in _places(every_row, drawing)}
        failed = [drawing.error for drawing in drawings[:1] if drawing.ended and drawing.error]
        return StepGrid(
            style.id,
            settings,
            every_row,
            distinct,
            compared,
            values.get("step", ()),
            values.get("strength", (AS_TRAINED,)),
            pictures,
            frozenset(coming & every - {*pictures}),
            next(iter(active), None),
            tuple(dict.fromkeys((*checked.problems.values(), *failed))),
        )

    def draw(self, view: View, grid: StepGrid, actor: Actor) -> None:
        """Queue the missing pictures of a run that the actor may change. VelaturaError if they cannot be drawn."""
        actor.check(view.job.name, view.job.owner)
        for request in grid.requests():
            self.generations.add(request, actor.name, self._key(view))

    def cancel(self, view: View, actor: Actor) -> None:
        """Cancel the drawings of a run that the actor may change."""
        actor.check(view.job.name, view.job.owner)
        for drawing in self.generations.history(self._key(view)):
            if not drawing.ended:
                self.generations.remove(drawing.id, self._key(view))

    def hurry(self, view: View, grid: StepGrid, actor: Actor) -> None:
        """Pause the training that the drawings of a run wait for, which the actor may change."""
        if grid.going is not None:
            self.generations.preempt(grid.going.id, self._key(view), actor)

    def _key(self, view: View) -> str:
        return f"{OF_RUN}{self.generations.queue.public_name(view.job.folder)}"


def _pictures(view: View, rows: tuple[Row, ...], drawings: Sequence[Generation]) -> Iterator[tuple[Place, Path]]:
    """All pictures; the run's own come last."""
    for drawing in reversed(drawings):
        places = dict(enumerate(_places(rows, drawing)))
        yield from ((places[number], path) for number, path in drawing.pictures.items() if number in places)
    kept = snapshots(view.job.folder)
    for each in find_steps(view):
        if each.step in kept:
            yield from (((row, each.step, AS_TRAINED), sample.path) for row, sample in each.samples.items())


def _places(rows: tuple[Row, ...], drawing: Generation) -> list[Place]:
    """The places of a generation's pictures, in order; none if the run does not draw such a prompt any more."""
    resolved = drawing.record.resolved
    row = (resolved.prompt, resolved.seed)
    if row not in rows:
        return []
    return [(rows.index(row), int(dict(cell.values)["step"]), cell.strengths[0]) for cell in cells_of(resolved)]


def _read_run(view: View) -> tuple[tuple[Row, ...], dict[str, Any]]:
    """The rows of a run's samples, and how it draws them, which a short run does in fewer steps than configured."""
    config = Run(view.job.folder).config()
    sample, known = config.sample, dict(view.summary.facts).get("prompts")
    prompts = prompts_of(view, len(known) if isinstance(known, list) else 0)
    seeds = [sample.seeds[prompts[:row].count(prompt) % len(sample.seeds)] for row, prompt in enumerate(prompts)]
    side = sample.size or config.data.resolution
    settings: dict[str, Any] = {name: getattr(sample, name) for name in ("negative", "guidance", "steps", "sampler")}
    settings |= {"size": (side, side) if side else None}
    for event in read_events(view.job.folder):
        if event["type"] == "previews" and event.keys() >= {"denoising", "sampler"}:
            settings |= {"steps": event["denoising"], "sampler": event["sampler"]}
        if event["type"] in ("previews", "step"):
            break
    return tuple(zip(map(read_line, prompts), seeds, strict=True)), settings
