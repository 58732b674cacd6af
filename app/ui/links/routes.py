"""`/shared/TOKEN` shows a run's progress and pictures to whoever has the link; `/shared/TOKEN/NAME` is a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from app.jobs.states import ENDED, State
from app.jobs.view import View
from app.studio.runs import samples
from app.studio.runs.chosen import chosen_samples, starred_step
from app.studio.runs.links import RunLinks
from app.studio.studio_queue import share
from app.ui.components.runs import run_view
from app.ui.components.runs import text as words
from app.ui.document.assets import IMMUTABLE
from app.ui.document.templates import render
from app.ui.links import text
from app.ui.middleware.headers import PageResponse
from app.ui.middleware.not_found import not_found_page
from app.ui.middleware.routes import SHARED

HIDDEN = {"x-robots-tag": "noindex, nofollow", "referrer-policy": "no-referrer"}
"""Keeps the page out of search engines, and its address from other sites."""


@dataclass(frozen=True)
class SharedRow:
    """A prompt with its pictures before and after training; None where none was drawn."""

    prompt: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class SharedRun:
    """A run without its owner and folder."""

    token: str
    name: str
    kind: str
    state: str
    line: str
    done: float
    ended: bool
    facts: tuple[str, ...]
    after: str
    """Title of the pictures after training: the newest, or the chosen step."""
    rows: tuple[SharedRow, ...]


def link_routes(links: RunLinks) -> list[BaseRoute]:
    """The routes of the page and its pictures."""

    def page(request: Request) -> Response:
        view = links.find(request.path_params["token"])
        if view is None:
            return PageResponse(not_found_page(request.url.path), 404)
        shared = read_shared(links, view, request.path_params["token"])
        answer = PageResponse(render("links/run.html", base="../", run=shared))
        answer.headers.update(HIDDEN)
        return answer

    def picture(request: Request) -> Response:
        view = links.find(request.path_params["token"])
        file = _pictures(links, view).get(request.path_params["name"]) if view is not None else None
        if file is None:
            return Response(status_code=404)
        return FileResponse(file, headers={"cache-control": IMMUTABLE})

    return [Route(f"{SHARED}{{token}}", page), Route(f"{SHARED}{{token}}/{{name}}", picture)]


def read_shared(links: RunLinks, view: View, token: str) -> SharedRun:
    """The run behind a link."""
    starred = starred_step(view.job.folder)
    line = "" if view.state in (State.FAILED, *run_view.TOLD_BY_FACTS) else words.line(view)
    return SharedRun(
        token,
        view.job.name,
        run_view.kind(view, None),
        words.STATES[view.state],
        line,
        share(view),
        view.state in ENDED,
        run_view.progress_facts(view),
        text.NEWEST if starred is None else text.KEPT.format(step=starred),
        tuple(_rows(links, view)),
    )


def _rows(links: RunLinks, view: View) -> list[SharedRow]:
    steps = samples.find_steps(view)
    before = dict(steps[0].samples) if steps and steps[0].step == 0 else {}
    is_starred = starred_step(view.job.folder) is not None
    drawn = chosen_samples(view) if is_starred else samples.newest_of_each(view)
    after = {sample.row: sample for sample in drawn if sample.step > 0 or sample.file}
    prompts = samples.prompts_of(view, max([*after, *before], default=-1) + 1)
    public = links.queue.public(view)

    def name(sample: samples.Sample | None) -> str | None:
        return samples.put_sample(sample, public, False).name if sample is not None else None

    rows = [SharedRow(prompt, name(before.get(row)), name(after.get(row))) for row, prompt in enumerate(prompts)]
    return [row for row in rows if row.after] or rows  # some steps were drawn with some of the prompts


def _pictures(links: RunLinks, view: View) -> dict[str, Path]:
    """The files of the page's pictures by name."""
    public = links.queue.public(view)
    names = {name for row in _rows(links, view) for name in (row.before, row.after) if name}
    return {name: public / name for name in names}
