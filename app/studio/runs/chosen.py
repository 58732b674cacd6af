"""The step of a run whose style downloads, "Try it" and the style library use, and other candidates.

A person's star decides; without one the best step by the run's scores does, if its style was kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.jobs.events.summary import Summary
from app.jobs.run_trash import CHOSEN
from app.jobs.states import ENDED
from app.jobs.view import View
from app.studio.runs.choice_files import changing, read_table, write_table
from app.studio.runs.samples import Sample, find_steps
from trainers.atomic_files import check_free, plain_disk_errors, whole_file
from trainers.errors import VelaturaError
from trainers.formats.embedding import embedding_of, embedding_path, style_of_run
from trainers.regular_files import is_inside
from trainers.runs.run import Run
from trainers.score.recorded import best_of, recorded_scores
from trainers.score.score import Score

MOST_CANDIDATES = 2


@dataclass(frozen=True)
class Choice:
    """The chosen steps of a run; each has a snapshot."""

    step: int | None
    """The starred step, or without a star the best one; None if neither is known, or if it is the exported style's."""
    candidates: tuple[int, ...]
    """Other steps in closer choice."""
    starred: bool = False
    """Whether somebody starred the step."""


def read_choice(run: Path, scores: Sequence[Score] | None = None) -> Choice:
    """The chosen steps of a run; a missing or damaged file chooses none. `scores` are read if not given."""
    choice = _read_file(run)
    return choice if choice.starred else Choice(_best_kept(run, scores), choice.candidates)


def choice_of(view: View) -> Choice:
    """The chosen steps of a viewed run."""
    return read_choice(view.job.folder, view.summary.scores)


def _read_file(run: Path) -> Choice:
    content = read_table(run, CHOSEN)
    kept = snapshots(run) if content else {}
    listed = content.get("candidates")
    steps = [content.get("step"), *(listed if isinstance(listed, list) else [])]
    step, *others = (each if type(each) is int and each in kept else None for each in steps)
    candidates = sorted({each for each in others if each is not None and each != step})
    return Choice(step, tuple(candidates[:MOST_CANDIDATES]), step is not None)


def _best_kept(run: Path, scores: Sequence[Score] | None) -> int | None:
    """The best step of a run, if its snapshot exists and is not the exported style."""
    best = best_of(recorded_scores(run) if scores is None else scores)
    snapshot = snapshots(run).get(best.score.step) if best is not None and best.score is not None else None
    if best is None or best.score is None or snapshot is None:
        return None
    style = style_of_run(run)
    is_exported = style is not None and is_inside(run, style) and style.samefile(snapshot)
    return None if is_exported else best.score.step


def starred_step(run: Path) -> int | None:
    """The starred step, or without a star the best one, if its snapshot exists; None without one."""
    return read_choice(run).step


def star(run: Path, step: int | None) -> None:
    """Star a step, or none; candidates stay. VelaturaError if the step has no snapshot."""
    with changing(run):
        _write(run, step, _read_file(run).candidates)


def star_in(view: View, step: int | None) -> None:
    """Star a step of a run, or none; what an ended run gives without a star needs none."""
    best = _best_kept(view.job.folder, view.summary.scores)
    needless = (
        step == final_step(view.job.folder, view.summary) if best is None else step == best and view.state in ENDED
    )
    star(view.job.folder, None if needless else step)


def set_candidate(run: Path, step: int, wanted: bool) -> None:
    """Make a step a candidate, or release it; the others stay.

    VelaturaError if the step has no snapshot, or if there are too many.
    """
    with changing(run):
        choice = _read_file(run)
        others = {*choice.candidates, step} if wanted else set(choice.candidates) - {step}
        if len(others - {choice.step}) > MOST_CANDIDATES:
            raise VelaturaError("at most {most} steps can be candidates; release one first", most=MOST_CANDIDATES)
        _write(run, choice.step, others)


def _write(run: Path, step: int | None, candidates: Iterable[int]) -> None:
    others = sorted(set(candidates) - {step})
    for each in others if step is None else (step, *others):
        if each not in snapshots(run):
            raise VelaturaError(
                "the style of step {step} was not kept; star a step that has a star beside its picture", step=each
            )
    if step is None and not others:
        (run / CHOSEN).unlink(missing_ok=True)
    else:
        write_table(run, CHOSEN, {"step": step} | ({"candidates": others} if others else {}))


def in_closer_choice(view: View) -> list[int]:
    """The candidates of a run and the step that it gives, in order; empty without candidates."""
    choice = choice_of(view)
    if not choice.candidates:
        return []
    return [each for each in snapshots(view.job.folder) if each in (chosen_step(view, choice), *choice.candidates)]


def chosen_style(run: Path, choice: Choice | None = None) -> Path | None:
    """The style file of a run: the starred or best step's, or else the final one, or else the newest snapshot.

    None if there is no style yet. `choice` is what was read of the run, if it was.
    """
    kept = snapshots(run)
    starred = (choice or read_choice(run)).step
    if starred is not None:
        return kept[starred]
    style = style_of_run(run)
    return style if style is not None and is_inside(run, style) else next(reversed(kept.values()), None)


def copy_starred(run: Path, out: Path, overwrite: bool) -> Path | None:
    """Copy the style of the starred step, with its word, to `out`; None if nothing is starred.

    VelaturaError if `out` is not the name of a style file, or exists.
    """
    step = starred_step(run)
    if step is None:
        return None
    if out.suffix != ".safetensors":
        raise VelaturaError("the name of a style file must end in .safetensors; found {name}", name=out.name)
    style = snapshots(run)[step]
    word = embedding_of(style)
    pairs = [(style, out)] + ([(word, embedding_path(out))] if word is not None else [])
    for _, place in pairs:
        check_free(place, overwrite)
    for source, place in pairs:
        with plain_disk_errors(place), whole_file(place) as building:
            shutil.copyfile(source, building)
    return out


def chosen_samples(view: View) -> list[Sample]:
    """The samples of a run's style by prompt: of the starred or best step, or else the newest."""
    steps, starred = find_steps(view), choice_of(view).step
    shown = next((step for step in steps if step.step == starred), steps[-1] if steps else None)
    return [shown.samples[row] for row in sorted(shown.samples)] if shown is not None else []


def final_step(run: Path, summary: Summary) -> int | None:
    """The step of a run's exported style, for older runs the last step; None without a style."""
    if style_of_run(run) is None:
        return None
    return summary.final or (summary.step if summary.ended in ("finished", "stopped") else None)


def chosen_step(view: View, choice: Choice | None = None) -> int | None:
    """The step of a run's `chosen_style`; None without a style, or if it is unknown."""
    return given_step(view.job.folder, view.summary, choice or choice_of(view))


def given_step(run: Path, summary: Summary, choice: Choice) -> int | None:
    """The same from what a run's folder holds."""
    if choice.step is not None:
        return choice.step
    return next(reversed(snapshots(run)), None) if style_of_run(run) is None else final_step(run, summary)


def is_snapshot(run: Path, style: Path) -> bool:
    """Whether a style file of a run is a snapshot."""
    return style.parent == Run(run).snapshots


def snapshots(run: Path) -> dict[int, Path]:
    """A run's snapshots by step, in order; empty if unreadable."""
    try:
        return {step: path for step, path in Run(run).list_snapshots().items() if is_inside(run, path)}
    except OSError:
        return {}
