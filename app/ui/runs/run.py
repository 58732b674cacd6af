"""One training while it goes on, and after: how far it is, what it draws, what can be done with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from app.jobs.permissions import Actor
from app.jobs.states import ENDED
from app.jobs.views import View
from app.studio.public_files import offer_file, offer_numbers
from app.studio.runs import samples
from app.studio.services import Services
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary
from app.ui.components import text as shared
from app.ui.components.controls import banner
from app.ui.components.events import actor_of, wire
from app.ui.components.live import patched
from app.ui.components.poller import Poller
from app.ui.components.shell import AT_ONCE, EACH, EACH_IN_TURN, build_shell, island
from app.ui.document.templates import macro, render
from app.ui.gradio_internals import file_address
from app.ui.runs import run_view, samples_view, slider
from app.ui.runs import text as words
from app.ui.runs.actions import RESTARTS, perform
from app.ui.runs.curve import draw_losses
from app.ui.runs.events import ACTIONS, FILES, FOLDS, SLIDER, FileWanted, FoldOpened, PictureWanted, RunAction
from app.ui.runs.head_view import read_head
from app.ui.runs.ranks_view import read_rank_map
from trainers.errors import VelaturaError

SOON, LATER = 2, 10
"""Seconds between two looks at least: at a run that goes on or waits, and at one that has ended."""
LOG_LINES, LOG_BYTES = 200, 64 * 1024
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and wire it."""
    build_shell("Runs")
    page = RunPage(services.queue, services.library)
    state = [page.name, page.poller.seen]
    opening = demo.load(page.open, None, [page.name], **AT_ONCE)
    page.poller.listen(opening.then, page.tick, state, page.everything)
    for part in (page.head, page.notice):
        wire(part, ACTIONS, page, state, page.everything, **EACH)
    wire(page.folds, FOLDS, page, [page.name], [page.folds], **EACH)
    wire(page.compare, SLIDER, page, [page.name], [page.compare], **EACH)
    for part in (page.head, page.curve):
        wire(part, FILES, page, [page.name], [page.files, page.notice], **EACH_IN_TURN)


class RunPage:
    """The parts of the page and what happens in them. What a page has seen comes back with each request."""

    def __init__(self, queue: StudioQueue, library: StyleLibrary) -> None:
        self.queue, self.library = queue, library
        self.notice = patched("components/asks.js", elem_id="run-notice")
        self.head = patched("components/menus.js", elem_id="run-head")
        with gr.Row(elem_classes="two"):
            with gr.Column(scale=5, min_width=320):
                self.samples = patched(
                    "components/lightbox.js", "runs/samples.js", elem_id="run-samples", words=_words()
                )
            with gr.Column(scale=3, min_width=300):
                self.compare = island(
                    "", "runs/slider.js", render("runs/slider.html"), elem_id="run-compare", words=slider.slider_words()
                )
                self.curve = patched("components/fetch.js", elem_id="run-curve")
        self.folds = island({}, "runs/logs.js", render("runs/logs.html"), elem_id="run-folds")
        self.files = island({}, "components/save.js", "<div></div>")
        island(None, "components/dialogs.js", render("runs/dialogs.html", restarts=RESTARTS))
        self.name = gr.Textbox("", visible=False)
        parts = {"head": self.head, "samples": self.samples, "compare": self.compare, "curve": self.curve}
        self.poller = Poller(parts)
        self.everything = [self.notice, *self.poller.outputs]

    def open(self, request: gr.Request) -> str:
        """Which run the address names."""
        return str(request.query_params.get("id", ""))[:200]

    def tick(self, name: str, seen: str, request: gr.Request) -> Shown:
        """What has changed since the page's last look."""
        view = self.queue.run(name)
        if view is None:
            return self.poller.answer(seen, _nothing(), LATER)
        return self.poller.answer(seen, self._values(view, actor_of(request)), LATER if view.state in ENDED else SOON)

    def on_asked(self, event: RunAction, request: gr.Request, name: str, seen: str) -> Shown:
        """Do what a button wants, and show what has become of it."""
        answer = perform(self.queue, event, actor_of(request))
        return {self.notice: answer.notice} | self.tick(name, seen, request)

    def on_fold_opened(self, event: FoldOpened, request: gr.Request, name: str) -> Any:
        """What stands in the fold that was opened: the log's end, the settings, or what the process said."""
        view = self.queue.run(name)
        if view is None:
            return gr.skip()
        files = {"log": "log.txt", "settings": "config.toml", "details": "process.log"}
        return {"fold": event.fold, "text": tail(view.job.folder / files[event.fold]) or words.NOTHING_YET}

    def on_picture_wanted(self, event: PictureWanted, request: gr.Request, name: str) -> Any:
        """What other runs have drawn of the words that are under the slider."""
        view = self.queue.run(name)
        if view is None:
            return gr.skip()
        found = slider.answer(self.queue, view, event.row, event.run)
        return json.dumps(found | {"at": event.at})

    def on_fetched(self, event: FileWanted, request: gr.Request, name: str) -> Shown:
        """Make the file that a button offers, and let the browser save it."""
        view = self.queue.run(name)
        if view is None:
            return {self.notice: banner(words.NO_SUCH_RUN[0], kind="problem")}
        try:
            place = self._file(view, event.file)
        except (OSError, VelaturaError) as error:
            return {self.notice: banner(shared.NO_FILE.format(error), kind="problem")}
        return {self.files: {"address": file_address(place), "name": place.name, "nonce": place.parent.name}}

    # ---------------------------------------------------------------- within
    def _file(self, view: View, what: str) -> Path:
        public = self.queue.public(view)
        if what == "samples":
            return samples.archive(view, public)
        if what == "numbers":
            return offer_numbers(view.job.name, self.queue.losses(view.job.folder).curve(), public)
        style = run_view.style_file(view)
        if style is None:
            raise VelaturaError(words.NO_STYLE)
        return offer_file(style, public)

    def _values(self, view: View, actor: Actor) -> dict[str, str]:
        public = self.queue.public(view)
        columns = samples.find_samples(view.job.folder)
        return {
            "head": render("runs/head.html", head=read_head(view, bool(columns), self._style(view), actor)),
            "samples": render(
                "runs/samples.html", grid=samples_view.read_grid(view, public), ranks=read_rank_map(view, public)
            ),
            "compare": slider.pictures(view, columns, public),
            "curve": self._curve(view),
        }

    def _curve(self, view: View) -> str:
        drawn = draw_losses(self.queue.losses(view.job.folder).curve(), view.summary.steps)
        return render("runs/curve.html", curve=drawn) if drawn else ""

    def _style(self, view: View) -> str:
        """The id of an ended run's style in the library, empty where there is none."""
        return self.library.of_run(view.job.folder.name) if view.state in ENDED else ""


def tail(path: Path) -> str:
    """The last lines of a file; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            data = file.read()
    except OSError:
        return ""
    return "\n".join(data.decode("utf-8", "replace").splitlines()[-LOG_LINES:])


def _nothing() -> dict[str, str]:
    title, lead = words.NO_SUCH_RUN
    head = macro("empty_page", title, lead, words.TO_THE_RUNS, "runs")
    return {"head": head, "samples": "", "compare": "", "curve": ""}


def _words() -> dict[str, str]:
    return {"close": shared.CLOSE, "earlier": words.EARLIER, "later": words.LATER}
