"""The page that compares the steps of a run: all pictures in one grid with one zoom, and a blind vote on them."""

from __future__ import annotations

import base64
import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import gradio as gr

from app.errors import as_sentence, message_of
from app.jobs.states import ENDED, State
from app.jobs.view import View
from app.studio.comparison.sheet import draw_sheet
from app.studio.comparison.step_grid import STRENGTHS, StepGrid, StepGrids
from app.studio.comparison.votes import Votes, add_vote, read_votes, undo_vote
from app.studio.public_files import name_for_download
from app.studio.runs.chosen import choice_of, chosen_step, snapshots, star_in
from app.studio.services import Services
from app.ui.components import text as shared
from app.ui.components.controls import banner
from app.ui.components.events import actor_of, wire
from app.ui.components.live import block, merged_part, now_us
from app.ui.components.live_parts import NOTHING_SEEN, LiveParts
from app.ui.components.shell import AT_ONCE, EACH, build_shell, scripted_part
from app.ui.document.templates import macro, render
from app.ui.gradio_internals import file_address
from app.ui.playground.text import progress
from app.ui.steps import text as words
from app.ui.steps.events import ACTIONS, FILES, GridAction, GridFileWanted
from app.ui.steps.view import find_voted, read_ballot, read_result, row_name, web_copy
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError
from trainers.score.votes import Vote

SOON, LATER = 2, 10
"""Seconds between two refreshes: while pictures are drawn, and otherwise."""
WON = {"left": 1.0, "tie": 0.5, "right": 0.0}
LONGEST = 2000
ROW = re.compile("row[0-9]{1,4}")
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and connect its events."""
    build_shell("Compare steps", services.queue, under="Runs")
    page = StepsPage(services)
    opening = demo.load(page.open, None, [page.asked], **AT_ONCE)
    page.live.listen(opening.then, page.refresh, [page.asked, page.live.seen], page.live.outputs)
    for part in (page.head, page.votes, page.grid):
        wire(part, ACTIONS, page, [page.asked], [page.notice, *page.live.outputs], **EACH)
    wire(page.head, FILES, page, [page.asked], [page.files, page.notice], **EACH)


class StepsPage:
    """The parts of the page and their event handlers; each request carries the versions that the page has."""

    def __init__(self, services: Services) -> None:
        self.queue, self.grids = services.queue, StepGrids(services.generations)
        self.notice = block("", elem_id="steps-notice")
        self.head = merged_part("components/menus.js", "components/title.js", elem_id="steps-head")
        self.votes = merged_part("components/clicks.js", "steps/vote.js", elem_id="steps-votes")
        self.grid = merged_part("components/clicks.js", "steps/zoom.js", "steps/grid.js", elem_id="steps-grid")
        self.files = scripted_part({}, "components/save.js")
        self.asked = gr.Textbox("", visible=False)
        """The query of the address: the run, its steps, strengths and rows, and whether to vote on them."""
        self.live = LiveParts({"head": self.head, "votes": self.votes, "grid": self.grid})

    def open(self, request: gr.Request) -> str:
        """The query of the address."""
        return urlencode(dict(request.query_params))[:LONGEST]

    def refresh(self, asked: str, seen: str, request: gr.Request) -> Shown:
        """The parts that have changed since the page's last refresh."""
        began = now_us()
        try:
            view, grid = self._find(asked)
        except VelaturaError as error:
            lost = macro("empty_page", words.NOTHING, as_sentence(error), shared.TO_THE_RUNS, "runs")
            return self.live.answer(seen, {"head": lost, "votes": "", "grid": ""}, began, LATER)
        may, show = actor_of(request).may_change(view.job.owner), self._show_grid
        if may and "vote" in dict(parse_qsl(asked)):
            show = self._show_ballot
        values = show(view, grid, read_votes(view.job.folder), may, asked)
        return self.live.answer(seen, values, began, SOON if grid.coming else LATER)

    def on_asked(self, event: GridAction, request: gr.Request, asked: str) -> Shown:
        """Draw what is missing or cancel it, add a vote or take it back; only for those who may change the run."""
        notice, actor = "", actor_of(request)
        try:
            view, grid = self._find(asked)
            actor.check(view.job.name, view.job.owner)
            if event.what == "draw":
                self.grids.draw(view, grid, actor)
            elif event.what == "hurry":
                self.grids.hurry(view, grid, actor)
            elif event.what == "cancel":
                self.grids.cancel(view, actor)
            elif event.what == "keep" and event.about.isdecimal():
                star_in(view, int(event.about))
            elif not self._vote(view, grid, event):
                notice = banner(words.LATE)
        except (OSError, VelaturaError) as error:
            notice = banner(as_sentence(error), kind="problem")
        return {self.notice: notice} | self.refresh(asked, NOTHING_SEEN, request)

    def on_fetched(self, event: GridFileWanted, request: gr.Request, asked: str) -> Shown:
        """Create the grid as a file and let the browser save it."""
        try:
            view, grid = self._find(asked)
            public = self.queue.public(view)
            place = name_for_download(public, f"{view.job.name} {words.FILE}.{event.file}")
            with whole_file(place) as building:
                if event.file == "png":
                    draw_sheet(grid, [row_name(grid, row) for row in grid.rows]).save(building, "PNG")
                else:
                    names = {"run": view.job.name, "row_name": row_name, "given": _given(view)}
                    page = render("steps/file.html", **names, grid=grid, address=lambda path, _: _as_data(path, public))
                    building.write_text(page, encoding="utf-8")
        except (OSError, VelaturaError) as error:
            return {self.notice: banner(shared.NO_FILE.format(message_of(error)), kind="problem")}
        return {self.files: {"address": file_address(place), "name": place.name, "nonce": place.parent.name}}

    # ---------------------------------------------------------------- within
    def _find(self, asked: str) -> tuple[View, StepGrid]:
        """The run and the grid that an address names. VelaturaError without one."""
        query = dict(parse_qsl(asked))
        view = self.queue.find(query.get("id", ""))
        rows = [int(name[3:]) for name in query if ROW.fullmatch(name)]
        grid = self.grids.read(view, query.get("steps", ""), query.get("strengths", ""), rows)
        if grid is None or not grid.every_row or not snapshots(view.job.folder):
            raise VelaturaError(words.NO_STEPS)
        return view, grid

    def _show_grid(self, view: View, grid: StepGrid, votes: Votes, may: bool, asked: str) -> dict[str, str]:
        public, query, result = self.queue.public(view), dict(parse_qsl(asked)), read_result(grid, votes)
        head = render(
            "steps/head.html",
            run=view.job.name,
            grid=grid,
            row_name=row_name,
            narrowed=not query.get("steps") and bool(choice_of(view).candidates),
            steps=query.get("steps") or ", ".join(map(str, grid.steps)),
            strengths=query.get("strengths") or STRENGTHS,
            may=may,
            waits=progress(grid.going) if grid.going and grid.going.state == State.QUEUED else "",
            ballot=may and read_ballot(grid, votes, public) and f"steps?{urlencode(query | {'vote': '1'})}",
        )
        kept = {"given": _given(view), "keep": may}
        return {
            "head": head,
            "votes": render("steps/votes.html", it=result, **kept) if result.count else "",
            "grid": render("steps/grid.html", grid=grid, row_name=row_name, address=partial(_address, public), **kept),
        }

    def _show_ballot(self, view: View, grid: StepGrid, votes: Votes, may: bool, asked: str) -> dict[str, str]:
        """Nothing in it names steps: the script completes the link back."""
        ballot, result = read_ballot(grid, votes, self.queue.public(view)), read_result(grid, votes)
        facts = {"run": view.job.name, "lines": votes.lines, "undoable": bool(votes.votes), "result": result}
        head = render("steps/title.html", run=view.job.name, title=words.BLIND, lead=words.BLIND_LEAD)
        return {"head": head, "votes": render("steps/ballot.html", it=ballot, **facts), "grid": ""}

    def _vote(self, view: View, grid: StepGrid, event: GridAction) -> bool:
        """Whether the vote counts: the page knew all votes, and its pictures are still there."""
        lines, *keys = event.about.split(":")
        if not lines.isdecimal() or len(keys) != 2:
            return False
        if event.what == "undo":
            return undo_vote(view.job.folder, int(lines))
        left, right = (find_voted(grid, key, self.queue.public(view)) for key in keys)
        if left is not None and right is not None and left[0] == right[0] and left != right:
            vote = Vote(left[1:], right[1:], WON[event.what])
            return add_vote(view.job.folder, row_name(grid, left[0]), vote, int(lines))
        return False


def _given(view: View) -> int | None:
    """The step that a run gives; while it trains, its newest one has no star, which would move at every step."""
    choice = choice_of(view)
    return chosen_step(view, choice) if view.state in ENDED else choice.step


def _address(public: Path, path: Path, small: bool) -> str:
    return file_address(web_copy(path, public, small))


def _as_data(path: Path, public: Path) -> str:
    content = web_copy(path, public).read_bytes()
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
