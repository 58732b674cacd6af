"""The page Compare: two to four runs side by side, with their samples, settings, losses and files."""

from __future__ import annotations

from typing import Any

import gradio as gr
from markupsafe import Markup

from app.errors import message_of
from app.jobs.states import ENDED
from app.jobs.view import View
from app.studio.runs.samples import newest_of_each
from app.studio.services import Services
from app.studio.settings.differences import read_settings
from app.ui.components import text as shared
from app.ui.components.controls import banner
from app.ui.components.download_menu import StyleFileWanted, make_download
from app.ui.components.events import wire
from app.ui.components.lightbox import light_words
from app.ui.components.live import block, merged_part, now_us
from app.ui.components.live_parts import LiveParts
from app.ui.components.shell import AT_ONCE, EACH, build_shell, scripted_part
from app.ui.document.templates import macro, render
from app.ui.runs import compare_text as words
from app.ui.runs import text
from app.ui.runs.compare_view import FEWEST, MOST, Side, read_comparison
from app.ui.runs.events import STYLE_FILES
from trainers.errors import VelaturaError

SOON, LATER = 2, 10
"""Seconds between two refreshes: while one of the runs is active, and otherwise."""
LONGEST = 1000
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and connect its events."""
    build_shell("Runs", services.queue)
    page = ComparisonPage(services)
    opening = demo.load(page.open, None, [page.ids], **AT_ONCE)
    page.live.listen(opening.then, page.refresh, [page.ids, page.live.seen], page.live.outputs)
    wire(page.sheet, STYLE_FILES, page, None, [page.files, page.notice], **EACH)


class ComparisonPage:
    """The parts of the page and their event handlers; each request carries the versions that the page has."""

    def __init__(self, services: Services) -> None:
        self.queue, self.library = services.queue, services.library
        self.notice = block("", elem_id="comparison-notice")
        labels = light_words(words.TO_THE_LEFT, words.TO_THE_RIGHT)
        self.sheet = merged_part(
            "components/menus.js",
            "components/lightbox.js",
            "components/enlarge.js",
            "components/title.js",
            elem_id="comparison",
            words=labels,
        )
        self.files = scripted_part({}, "components/save.js")
        self.ids = gr.Textbox("", visible=False)
        self.live = LiveParts({"sheet": self.sheet})

    def open(self, request: gr.Request) -> str:
        """Ids of the runs in the address."""
        return str(request.query_params.get("ids", ""))[:LONGEST]

    def refresh(self, ids: str, seen: str) -> Shown:
        """The parts that have changed since the page's last refresh."""
        began = now_us()
        names = list(dict.fromkeys(name.strip() for name in ids.split(",") if name.strip()))
        views = {name: view for name in names if (view := self.queue.run(name)) is not None}
        goes_on = any(view.state not in ENDED for view in views.values())
        sheet = self._sheet(names, list(views.values()))
        return self.live.answer(seen, {"sheet": sheet}, began, SOON if goes_on else LATER)

    def on_fetched(self, event: StyleFileWanted, request: gr.Request) -> Shown:
        """Create the requested style file and let the browser save it."""
        try:
            return {self.files: make_download(self.library, event), self.notice: ""}
        except (OSError, VelaturaError) as error:
            return {self.notice: banner(shared.NO_FILE.format(message_of(error)), kind="problem")}

    # ---------------------------------------------------------------- within
    def _sheet(self, names: list[str], views: list[View]) -> Markup:
        lost = ", ".join(name for name in names if name not in {view.job.name for view in views})
        if len(views) < FEWEST:
            title, lead = words.NOT_THERE if lost else words.ONE if views else words.EMPTY
            return macro("empty_page", title, lead.format(lost or ", ".join(names)), shared.TO_THE_RUNS, "runs")
        notices = [words.MISSING.format(lost)] if lost else []
        notices += [words.TOO_MANY] if len(views) > MOST else []
        items = {item.run: item for item in self.library.entries() if item.run}
        sides = [
            Side(
                view,
                self.queue.public(view),
                self.queue.losses(view.job.folder).curve(),
                read_settings(view.job.folder),
                newest_of_each(view),
                items.get(view.job.folder.name) if view.state in ENDED else None,
            )
            for view in views[:MOST]
        ]
        return render("runs/compare.html", it=read_comparison(sides, self.library, notices), runs=text)
