"""Two pictures of the same words under one slider: of one run at two steps, or of two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.jobs.views import View
from app.studio.runs.samples import Sample, by_words, find_samples, newest_whole, prompts_of
from app.studio.studio_queue import StudioQueue
from app.ui.runs import text as words
from app.ui.runs.samples_view import address

MOST_RUNS = 50


def slider_words() -> dict[str, str]:
    """What its script says."""
    return {"another": words.ANOTHER_RUN, "choose": words.CHOOSE_RUN, "none": words.NO_OTHER}


def pictures(view: View, columns: list[list[Sample]], public: Path) -> str:
    """Every picture that may come under the slider, by prompt; empty as long as there is nothing to compare."""
    if len(columns) < 2:
        return ""
    rows = [
        {
            "words": prompt,
            "pictures": [_picture(each.title, each, public) for c in columns for each in c if each.row == k],
        }
        for k, prompt in enumerate(prompts_of(view, max(len(column) for column in columns)))
    ]
    return json.dumps({"rows": rows})


def answer(queue: StudioQueue, view: View, row: int, run: str) -> dict[str, Any]:
    """The picture that another run has drawn of a row's words; without a run, the names of those that have drawn them.

    Both come from outside. A picture that there is not is an empty one.
    """
    columns = find_samples(view.job.folder)
    words_of = next((key for key, each in by_words(view, newest_whole(columns)).items() if each.row == row), None)
    if not run:
        return {"row": row, "runs": _names(queue, view, words_of[0]) if words_of else []}
    other = queue.run(run)
    found = by_words(other, newest_whole(find_samples(other.job.folder))).get(words_of) if other and words_of else None
    if other is None or found is None:
        return {"row": row, "run": run, "picture": None}
    return {"row": row, "run": run, "picture": _picture(run, found, queue.public(other))}


def _names(queue: StudioQueue, view: View, prompt: str) -> list[str]:
    drawn = (
        each
        for each in queue.runs()
        if each.job.folder != view.job.folder
        and prompt in (dict(each.summary.facts).get("prompts") or ())
        and find_samples(each.job.folder)
    )
    return [each.job.name for each, _ in zip(drawn, range(MOST_RUNS), strict=False)]


def _picture(title: str, sample: Sample, public: Path) -> dict[str, str]:
    return {"title": title, "whole": address(sample, public, False)}
