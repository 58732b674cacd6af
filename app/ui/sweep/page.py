"""The page Sweep: samples, results and losses of a sweep's runs, and the choice of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from app.errors import as_sentence, message_of
from app.jobs.permissions import Actor
from app.jobs.states import ENDED
from app.studio.public_files import name_for_download
from app.studio.services import Services
from app.studio.sweeps.pictures import draw_sheet, make_grid
from app.studio.sweeps.results import as_csv, ranked, read_result
from app.studio.sweeps.sweep_file import Sweep, keep_run, read_sweep
from app.studio.sweeps.sweeps import Member, continue_sweep, end_sweep, members, move_sweep
from app.ui.components import text as shared
from app.ui.components.controls import banner
from app.ui.components.events import actor_of, wire
from app.ui.components.lightbox import light_words
from app.ui.components.live import block, merged_part, now_us
from app.ui.components.live_parts import NOTHING_SEEN, DeferredPart, LiveParts
from app.ui.components.shell import AT_ONCE, EACH, build_shell, scripted_part
from app.ui.document.templates import macro, render
from app.ui.gradio_internals import file_address
from app.ui.sweep import text as words
from app.ui.sweep.events import ACTIONS, FILES, SweepAction, SweepFileWanted
from app.ui.sweep.view import read_head, read_pictures, read_results
from app.units import counted
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError

SOON, LATER = 3, 10
"""Seconds between two refreshes: while one of the runs is active, and otherwise."""
LONGEST = 200
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and connect its events."""
    build_shell("Sweep", services.queue, under="Runs")
    page = SweepPage(services)
    opening = demo.load(page.open, None, [page.name], **AT_ONCE)
    page.live.listen(opening.then, page.refresh, [page.name, page.live.seen], page.live.outputs)
    for part in (page.head, page.results):
        wire(part, ACTIONS, page, [page.name], [page.notice, *page.live.outputs], **EACH)
    for part in (page.pictures, page.results):
        wire(part, FILES, page, [page.name], [page.files, page.notice], **EACH)


class SweepPage:
    """The parts of the page and their event handlers; each request carries the versions that the page has."""

    def __init__(self, services: Services) -> None:
        self.queue = services.queue
        self.notice = block("", elem_id="sweep-notice")
        self.head = merged_part("components/clicks.js", "components/title.js", elem_id="sweep-head")
        labels = light_words(words.TO_THE_LEFT, words.TO_THE_RIGHT)
        scripts = ("components/lightbox.js", "components/fetch.js", "components/enlarge.js")
        self.pictures = merged_part(*scripts, elem_id="sweep-pictures", words=labels)
        self.results = merged_part("components/clicks.js", "components/fetch.js", elem_id="sweep-results")
        self.files = scripted_part({}, "components/save.js")
        self.name = gr.Textbox("", visible=False)
        self.live = LiveParts({"head": self.head, "pictures": self.pictures, "results": self.results})

    def open(self, request: gr.Request) -> str:
        """The name of the sweep in the address."""
        return str(request.query_params.get("id", ""))[:LONGEST]

    def refresh(self, name: str, seen: str, request: gr.Request) -> Shown:
        """The parts that have changed since the page's last refresh."""
        began = now_us()
        try:
            sweep, members = self._find(name)
        except VelaturaError as error:
            lost = macro("empty_page", words.NO_SUCH_SWEEP, as_sentence(error), shared.TO_THE_RUNS, "runs")
            return self.live.answer(seen, {"head": lost, "pictures": "", "results": ""}, began, LATER)
        actor = actor_of(request)
        state = [(member.name, member.view and (member.view.state, member.view.summary)) for member in members]
        values: dict[str, str | DeferredPart] = {
            "head": render("sweep/head.html", it=read_head(sweep, members, actor)),
            "pictures": DeferredPart(
                state, lambda: render("sweep/pictures.html", tables=read_pictures(self.queue, sweep, members))
            ),
            "results": DeferredPart(
                (state, sweep.kept, actor.name),
                lambda: render("sweep/results.html", it=read_results(self.queue, sweep, members, actor)),
            ),
        }
        goes_on = any(member.view is not None and member.view.state not in ENDED for member in members)
        return self.live.answer(seen, values, began, SOON if goes_on else LATER)

    def on_asked(self, event: SweepAction, request: gr.Request, name: str) -> Shown:
        """Perform the action of a button and show the result."""
        try:
            notice = self._act(event, actor_of(request), name)
        except (OSError, VelaturaError) as error:
            notice = banner(as_sentence(error), kind="problem")
        return {self.notice: notice} | self.refresh(name, NOTHING_SEEN, request)

    def on_fetched(self, event: SweepFileWanted, request: gr.Request, name: str) -> Shown:
        """Create the requested file and let the browser save it."""
        try:
            place = self._file(event.file, *self._find(name))
        except (OSError, VelaturaError) as error:
            return {self.notice: banner(shared.NO_FILE.format(message_of(error)), kind="problem")}
        return {
            self.files: {"address": file_address(place), "name": place.name, "nonce": place.parent.name},
            self.notice: "",
        }

    # ---------------------------------------------------------------- within
    def _find(self, name: str) -> tuple[Sweep, list[Member]]:
        sweep = read_sweep(self.queue.store.runs, name)
        return sweep, members(sweep, self.queue.runs())

    def _act(self, event: SweepAction, actor: Actor, name: str) -> Any:
        store, (sweep, _) = self.queue.store, self._find(name)
        if event.what in ("keep", "unkeep"):
            actor.check(sweep.name, sweep.owner)
            keep_run(store.runs, sweep, event.about if event.what == "keep" else "")
            return ""
        if event.what == "stop-all":
            sentence, count = words.STOPPED, end_sweep(store, sweep, "save", actor=actor)
        elif event.what == "continue":
            sentence, count = words.CONTINUED, continue_sweep(store, sweep, actor=actor)
        else:
            sentence, count = words.MOVED, move_sweep(store, sweep, event.what, actor=actor)
        return banner(sentence.format(runs=counted(count, "run")))

    def _file(self, what: str, sweep: Sweep, members: list[Member]) -> Path:
        """The contact sheet of the first prompt, or the table of results, in the public folder of a run."""
        view = next((member.view for member in members if member.view is not None), None)
        if view is None:
            raise VelaturaError(words.NO_PICTURES)
        public = self.queue.public(view)
        if what == "csv":
            place = name_for_download(public, f"{sweep.name}.csv")
            results = ranked([read_result(member) for member in members])
            with whole_file(place) as building:
                building.write_text(as_csv(sweep.axes, results), encoding="utf-8")
            return place
        sheet = draw_sheet(make_grid(sweep.axes, members), sweep.name)
        place = name_for_download(public, f"{sweep.name}.png")
        with whole_file(place) as building:
            sheet.save(building)
        return place
