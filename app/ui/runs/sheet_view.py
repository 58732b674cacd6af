"""The contact sheet of a run as JSON: pictures by step and prompt, planned ones, and the star."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from PIL import Image

from app.jobs.permissions import Actor
from app.jobs.states import ENDED
from app.jobs.view import View
from app.language import translated
from app.studio.runs import chosen
from app.studio.runs.samples import (
    SampledStep,
    by_words,
    find_samples,
    find_steps,
    newest_of_each,
    prompts_of,
    put_sample,
)
from app.studio.runs.training_pictures import count_pictures, put_nearest
from app.studio.studio_queue import StudioQueue
from app.ui.components.lightbox import light_words
from app.ui.components.runs.run_view import axis_end
from app.ui.gradio_internals import file_address
from app.ui.runs import text as words
from app.ui.runs.graph_view import planned_steps, planned_total
from trainers.errors import VelaturaError
from trainers.planning.findings import native_size
from trainers.runs.run import Run
from trainers.score.recorded import best_of

SCRIPTS = (
    *("components/stale_guard.js", "components/lightbox.js"),
    *("runs/axis.js", "runs/sheet.js", "runs/strip.js"),
)
MOST_RUNS = 50
"""Maximum number of runs offered for comparison."""
MOST_PROMPTS = 200
LONG_TITLE = 200
UNKNOWN = (512, 512)
"""The size of a picture that cannot be read."""


def sheet_words() -> dict[str, str]:
    """The texts of its script."""
    return {
        "before": words.BEFORE,
        "start": words.START,
        "step": words.AT_THE_STEP,
        "starred": words.STARRED_STEP,
        "picture": words.PICTURE_OF,
        "trained": words.TRAINED_ON,
        "another": words.ANOTHER_RUN,
        "choose": words.CHOOSE_RUN,
        "none": words.NO_OTHER,
        "gives": words.GIVES_STEP,
        "givesUnless": words.GIVES_UNLESS,
        "givesNow": words.GIVES_NOW,
        "givesBest": words.GIVES_BEST,
        "givesBestNow": words.GIVES_BEST_NOW,
        "givesUnmarked": words.GIVES_UNMARKED,
        "givesAgainst": words.GIVES_AGAINST,
        "undrawn": words.NOT_DRAWN_STEP,
        "some": words.SOME_DRAWN,
        "left": words.LEFT_OUT,
        "star": words.STAR,
        "isStarred": words.STARRED,
        "isGiven": words.GIVEN,
        "candidate": words.CANDIDATE_STEP,
        "unkept": words.NOT_KEPT_STEP,
        "file": words.PICTURE_FILE,
        **light_words(words.EARLIER, words.LATER),
    }


def read_sheet(
    view: View,
    public: Path,
    actor: Actor | None,
    identifier: str = "",
    folder: str | None = None,
    choice: chosen.Choice | None = None,
) -> str:
    """The contact sheet of a run for `actor`, None for a guest; "" if the run has no picture and will have none.

    `identifier` is the id of its style in the library, or "". `folder` is the address of its pictures, by default the
    one at which people with a login find the public folder. `choice` is what was read of the run, if it was.
    """
    steps = find_steps(view)
    going = view.state not in ENDED
    if not steps and not going:
        return ""
    run = Run(view.job.folder)
    total = view.summary.steps or planned_total(run)
    kept, choice = chosen.snapshots(run.folder), choice or chosen.choice_of(view)
    style = chosen.chosen_style(run.folder, choice)
    gives, best = chosen.chosen_step(view, choice), best_of(view.summary.scores)
    advised = best.score.step if best is not None and best.score is not None else None
    is_best = advised is not None and advised == gives and not choice.starred
    final = style is not None and choice.step is None and not chosen.is_snapshot(run.folder, style)
    exported = chosen.final_step(run.folder, view.summary)
    rows = max([row for step in steps for row in step.samples], default=-1) + 1
    width, height = _size(steps) or _planned_size(run)
    return json.dumps(
        {
            "name": view.job.name,
            "steps": max(axis_end(view) or total, steps[-1].step if steps else 0),
            "going": going,
            "ratio": round(min(4.0, max(0.25, width / height)), 3),
            "width": width,
            "prompts": translated(prompts_of(view, rows)) if rows else _planned_prompts(run),
            "folder": f"{file_address(public)}/" if folder is None else folder,
            "cells": [_cell(step, rows, public, step.step in kept or step.step == exported) for step in steps],
            "planned": _planned(run, total, [step.step for step in steps], kept, going),
            "gives": gives if style is not None else None,
            "starred": choice.starred,
            "best": is_best,
            "advised": advised,
            "unmarked": best is not None and advised is None and not choice.starred and not going,
            "candidates": choice.candidates,
            "most": chosen.MOST_CANDIDATES,
            "settled": final or (is_best and not going),  # needs no star
            "left": [] if going or actor is None else _never_drawn(view, run, rows),
            "compare": identifier and len(kept) > 1 and f"steps?{urlencode({'id': view.job.name})}",
            "draw": identifier and f"playground?style={identifier}{'&compare=step' if len(kept) > 1 else ''}",
            # Everybody with a login may clone the run, and so see its pictures.
            "trained": count_pictures(run.folder) if actor is not None else 0,
            "may": actor is not None and actor.may_change(view.job.owner),
        }
    )


def answer(queue: StudioQueue, view: View, row: int, run: str) -> dict[str, Any]:
    """Another run's picture of a row's prompt; without a run, the names of runs that have one.

    Both are untrusted; a missing picture is "".
    """
    rows = by_words(view, newest_of_each(view))
    words_of = next((key for key, sample in rows.items() if sample.row == row), None)
    if not run:
        return {"row": row, "runs": _names(queue, view, words_of[0]) if words_of else []}
    other = queue.run(run)
    picture = by_words(other, newest_of_each(other)).get(words_of) if other and words_of else None
    if other is None or picture is None:
        return {"row": row, "run": run, "picture": None}
    return {"row": row, "run": run, "picture": file_address(put_sample(picture, queue.public(other), False))}


def trained(view: View, prompt: str, place: int, public: Path) -> dict[str, Any]:
    """The training picture at a place among those nearest to a prompt, both untrusted; "" if it is missing."""
    try:
        picture, caption = put_nearest(view.job.folder, prompt, place, public)
    except (OSError, VelaturaError):
        return {"prompt": prompt, "place": place, "trained": "", "caption": ""}
    return {"prompt": prompt, "place": place, "trained": file_address(picture), "caption": caption}


def _cell(step: SampledStep, rows: int, public: Path, kept: bool) -> dict[str, Any]:
    """A step; `kept` is True if its style file exists. Each picture has a small and a large copy."""
    row_samples = [step.samples.get(row) for row in range(rows)]
    return {
        "step": step.step,
        "kept": kept and step.step > 0,
        "small": [put_sample(sample, public, True).name if sample else "" for sample in row_samples],
        "whole": [put_sample(sample, public, False).name if sample else "" for sample in row_samples],
    }


def _size(steps: Sequence[SampledStep]) -> tuple[int, int] | None:
    """Width and height of the pictures, for which the page leaves room; None before the first one."""
    first = next((sample for step in steps for sample in step.samples.values()), None)
    if first is None:
        return None
    try:
        seen = first.path.stat()
    except OSError:
        return UNKNOWN
    return _size_of(first.path, seen.st_mtime_ns)


@lru_cache(500)
def _size_of(path: Path, stamp: int) -> tuple[int, int]:
    """The size of a file, read once for each `stamp` of it."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return picture.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return UNKNOWN


def _planned_size(run: Run) -> tuple[int, int]:
    """The size in which a run will draw."""
    try:
        config = run.config()
    except VelaturaError:
        return UNKNOWN
    side = config.sample.size or config.data.resolution or (native_size(config.base.model) or UNKNOWN)[0]
    return side, side


def _planned(run: Run, total: int, drawn: Sequence[int], kept: Iterable[int], going: bool) -> list[int]:
    """The steps without pictures: those that kept their style but had no time for one, and those to come."""
    coming = planned_steps(run, total) if going else []
    return sorted({*kept, *(step for step in coming if step > max(drawn, default=-1))} - {*drawn})


def _planned_prompts(run: Run) -> list[str]:
    sample = run.table().get("sample")
    prompts = sample.get("prompts") if isinstance(sample, dict) else None
    if not isinstance(prompts, list | tuple):
        return []
    return [prompt[:LONG_TITLE] for prompt in prompts[:MOST_PROMPTS] if isinstance(prompt, str)]


def _never_drawn(view: View, run: Run, rows: int) -> list[str]:
    """The prompts without a picture in a run that has drawn `rows` rows: the last ones."""
    recorded = dict(view.summary.facts).get("prompts")
    if not isinstance(recorded, list):
        return []
    drawn = len(set(recorded[:rows]))
    return max(list(dict.fromkeys(recorded)), _planned_prompts(run), key=len)[drawn:]


def _names(queue: StudioQueue, view: View, prompt: str) -> list[str]:
    drawn = (
        other
        for other in queue.runs()
        if other.job.folder != view.job.folder
        and prompt in (dict(other.summary.facts).get("prompts") or ())
        and find_samples(other.job.folder)
    )
    return [other.job.name for other, _ in zip(drawn, range(MOST_RUNS), strict=False)]
