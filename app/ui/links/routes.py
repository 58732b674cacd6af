"""`/shared/TOKEN` shows a run's progress and pictures to whoever has the link; `/shared/TOKEN/NAME` is a picture."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from app.jobs.states import ENDED, State
from app.jobs.view import View
from app.language import translated
from app.studio.runs.links import RunLinks
from app.studio.studio_queue import share
from app.ui.components.runs import run_view
from app.ui.components.runs import text as words
from app.ui.document.assets import IMMUTABLE, run_scripts, script_of
from app.ui.document.templates import render
from app.ui.middleware.headers import PageResponse
from app.ui.middleware.not_found import not_found_page
from app.ui.middleware.routes import SHARED
from app.ui.runs import sheet_view

SCRIPT = "shared"
"""Name of the page's script, which draws the sheet of samples as the run's page does."""
SCRIPTS = {SCRIPT: [run_scripts(*sheet_view.SCRIPTS)]}
PICTURE = re.compile(r"(?:small|whole)-\d{6,}f?-\d{2,}-[0-9a-f]+\.webp")
"""Name of a sample in a run's public folder, which holds its downloads, too."""
HIDDEN = {"x-robots-tag": "noindex, nofollow", "referrer-policy": "no-referrer"}
"""Keeps the page out of search engines, and its address from other sites."""


@dataclass(frozen=True)
class SharedRun:
    """A run without its owner and folder."""

    token: str
    name: str
    kind: str
    state: State
    line: str
    done: float
    ended: bool
    facts: tuple[str, ...]
    sheet: str
    """The pictures as `sheet.js` reads them; "" without any."""


def link_routes(links: RunLinks) -> list[BaseRoute]:
    """The routes of the page and its pictures."""

    def answer(request: Request) -> Response:
        view = links.find(request.path_params["token"])
        if view is None:
            return PageResponse(not_found_page(request.url.path), 404)
        shared = read_shared(links, view, request.path_params["token"])
        frame, named = render("runs/sheet.html", guest=True), script_of(SCRIPT)
        page = render("links/run.html", base="../", run=shared, frame=frame, words=_words(), script_name=named)
        response = PageResponse(page)
        response.headers.update(HIDDEN)
        return response

    def picture(request: Request) -> Response:
        view, name = links.find(request.path_params["token"]), request.path_params["name"]
        if view is None or not PICTURE.fullmatch(name):
            return Response(status_code=404)
        file = links.queue.public(view) / name
        return FileResponse(file, headers={"cache-control": IMMUTABLE}) if file.is_file() else Response(status_code=404)

    return [Route(f"{SHARED}{{token}}", answer), Route(f"{SHARED}{{token}}/{{name}}", picture)]


def read_shared(links: RunLinks, view: View, token: str) -> SharedRun:
    """The run behind a link."""
    folder = f"{SHARED[1:]}{token}/"
    line = "" if view.state in (State.FAILED, *run_view.TOLD_BY_FACTS) else words.line(view)
    return SharedRun(
        token,
        view.job.name,
        run_view.kind(view, None),
        view.state,
        line,
        share(view),
        view.state in ENDED,
        run_view.progress_facts(view),
        sheet_view.read_sheet(view, links.queue.public(view), None, folder=folder),
    )


def _words() -> str:
    """The words of its script for guests, who see neither other runs nor what a run gives."""
    words = sheet_view.sheet_words()
    return json.dumps(translated({key: "" if key.startswith(("another", "gives")) else words[key] for key in words}))
