"""The page Run: progress, samples and controls of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from app.errors import message_of
from app.jobs.permissions import Actor
from app.jobs.states import ENDED, State
from app.jobs.view import View
from app.studio.problem_report import read_report, write_report
from app.studio.programs.find import kind_called
from app.studio.programs.targets import TITLES, Target
from app.studio.public_files import name_for_download, offer_file, offer_numbers
from app.studio.runs import chosen, samples
from app.studio.runs.notes import LONGEST_NOTE, read_notes, write_notes
from app.studio.runs.start_times import StartTimes
from app.studio.services import Services
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import SUFFIX
from app.ui.components import text as shared
from app.ui.components.controls import Button, Control, Fetch, banner
from app.ui.components.download_menu import put_into, who_reads
from app.ui.components.errors import in_a_banner
from app.ui.components.events import actor_of, wire
from app.ui.components.live import AtRequest, merged_part, now_us
from app.ui.components.live_parts import NOTHING_SEEN, DeferredPart, LiveParts
from app.ui.components.log_tail import tail
from app.ui.components.shell import AT_ONCE, EACH, build_shell, scripted_part
from app.ui.document.icons import ICONS
from app.ui.document.templates import macro, render
from app.ui.gradio_internals import file_address
from app.ui.runs import graph_view, sheet_view
from app.ui.runs import text as words
from app.ui.runs.actions import ASKED, perform
from app.ui.runs.events import (
    ACTIONS,
    CURVES,
    FILES,
    FOLDS,
    NOTED,
    SHEET,
    STARS,
    CandidateSet,
    CurveWanted,
    FileWanted,
    FoldOpened,
    PictureWanted,
    RunAction,
    RunNoted,
    StepStarred,
    TrainingWanted,
)
from app.ui.runs.head_view import read_acts, read_head
from app.ui.runs.ranks_view import read_rank_map
from trainers.errors import VelaturaError

SOON, STEADY, LATER = 2, 4, 10
"""Seconds between two refreshes: during short states, while it trains or waits, and after its end."""
PASSING = (State.PREPARING, State.SAVING, State.STOPPING)
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and connect its events."""
    build_shell("Runs", services.queue)
    page = RunPage(services)
    opening = demo.load(page.open, None, [page.name], **AT_ONCE)
    page.live.listen(opening.then, page.refresh, [page.name, page.drawn, page.live.seen], page.everything)
    for part in (page.acts, page.notice):
        wire(part, ACTIONS, page, [page.name, page.drawn], page.everything, **EACH)
    wire(page.folds, FOLDS, page, [page.name], [page.folds], **EACH)
    wire(page.sheet, SHEET, page, [page.name], [page.sheet], **EACH)
    wire(page.sheet, STARS, page, [page.name, page.drawn], page.everything, **EACH)
    wire(page.note, NOTED, page, [page.name, page.drawn], page.everything, **EACH)
    wire(page.graph, CURVES, page, [page.name], [page.graph], **EACH)
    for part in (page.acts, page.graph, page.folds):
        wire(part, FILES, page, [page.name], [page.files, page.notice], **EACH)


class RunPage:
    """The parts of the page and their event handlers; each request carries the versions that the page has."""

    def __init__(self, services: Services) -> None:
        self.services, self.queue, self.library = services, services.queue, services.library
        self.notice = merged_part(
            *("components/clicks.js", "components/copy.js", "runs/link.js"),
            elem_id="run-notice",
            words={"copied": words.COPIED},
        )
        with gr.Column(elem_id="run-top"):
            self.head = merged_part("components/title.js", elem_id="run-head")
            self.acts = merged_part("components/menus.js", "runs/settle.js", elem_id="run-acts")
        self.sheet = scripted_part(
            "",
            sheet_view.SCRIPTS,
            AtRequest(render, "runs/sheet.html", guest=False),
            elem_id="run-sheet",
            words=sheet_view.sheet_words(),
            star=str(ICONS["star"]),
        )
        self.note = merged_part(
            *("components/unsent.js", "components/fields.js", "components/in_turn.js", "runs/note.js"),
            elem_id="run-note",
        )
        self.graph = scripted_part(
            "",
            (
                *("components/stale_guard.js", "components/fetch.js"),
                *("runs/axis.js", "runs/scale.js", "runs/scores.js", "runs/graph.js"),
            ),
            AtRequest(render, "runs/graph.html"),
            elem_id="run-graph",
            words=graph_view.graph_words(),
        )
        self.ranks = merged_part(elem_id="run-ranks")
        self.folds = scripted_part({}, "runs/logs.js", AtRequest(render, "runs/logs.html"), elem_id="run-folds")
        self.files = scripted_part({}, "components/save.js", "<div></div>")
        scripted_part(None, "components/dialogs.js", AtRequest(render, "runs/dialogs.html", **ASKED))
        self.name = gr.Textbox("", visible=False)
        self.drawn = gr.Textbox("", visible=False)
        """The version of the run's numbers that the page has."""
        parts = {"head": self.head, "acts": self.acts, "sheet": self.sheet, "note": self.note}
        self.live = LiveParts(parts | {"graph": self.graph, "ranks": self.ranks})
        self.everything = [self.notice, self.drawn, *self.live.outputs]

    def open(self, request: gr.Request) -> str:
        """The run in the address."""
        return str(request.query_params.get("id", ""))[:200]

    def refresh(self, name: str, drawn: str, seen: str, request: gr.Request, noted: int = 0) -> Shown:
        """The parts that have changed since the page's last refresh; `noted` is the number of a stored note."""
        began = now_us()
        view = self.queue.run(name)
        if view is None:
            return self.live.answer(seen, _nothing(), began, LATER)
        values, now = self._values(view, drawn, actor_of(request), noted)
        shown = self.live.answer(seen, values, began, _pace(view.state))
        return shown | {self.drawn: now} if self.graph in shown else shown

    def on_asked(self, event: RunAction, request: gr.Request, name: str, drawn: str) -> Shown:
        """Perform the action of a button and show the result."""
        notice = self._put(event) if event.what == "put" else perform(self.queue, event, actor_of(request)).notice
        return {self.notice: notice} | self.refresh(name, drawn, NOTHING_SEEN, request)

    def on_starred(self, event: StepStarred, request: gr.Request, name: str, drawn: str) -> Shown:
        """Star a step, or remove the star."""

        def star(view: View) -> None:
            chosen.star_in(view, event.step)

        return self._change(star, request, name, drawn)

    def on_candidate_set(self, event: CandidateSet, request: gr.Request, name: str, drawn: str) -> Shown:
        """Make a step a candidate, or release it."""

        def set_candidate(view: View) -> None:
            chosen.set_candidate(view.job.folder, event.step, event.wanted)

        return self._change(set_candidate, request, name, drawn)

    def on_noted(self, event: RunNoted, request: gr.Request, name: str, drawn: str) -> Shown:
        """Store the note or the tags of the run; the page sends them again if that fails."""

        def write(view: View) -> None:
            write_notes(view.job.folder, **{event.field: event.text})

        return self._change(write, request, name, drawn, event.count)

    def on_fold_opened(self, event: FoldOpened, request: gr.Request, name: str) -> Any:
        """The content of an opened fold: the end of the log, the settings, or the process's output."""
        view = self.queue.run(name)
        if view is None:
            return gr.skip()
        if event.fold == "report":
            report = read_report(view.job.folder, view.job.owner)
            return {"fold": event.fold, "text": "\n".join(f"[{name}]\n{text}" for name, text in report.items())}
        files = {"log": "log.txt", "settings": "config.toml", "details": "process.log"}
        nothing = words.NOTHING_PRINTED if view.state in ENDED else words.NOTHING_YET
        return {"fold": event.fold, "text": tail(view.job.folder, files[event.fold]) or nothing}

    def on_picture_wanted(self, event: PictureWanted, request: gr.Request, name: str) -> Any:
        """Pictures of other runs from the picture's prompt."""
        view = self.queue.run(name)
        if view is None:
            return gr.skip()
        picture = sheet_view.answer(self.queue, view, event.row, event.run)
        return json.dumps(picture | {"at": event.at})

    def on_training_wanted(self, event: TrainingWanted, request: gr.Request, name: str) -> Any:
        """The training picture at a place among those nearest to a prompt."""
        view = self.queue.run(name)
        if view is None:
            return gr.skip()
        return json.dumps(sheet_view.trained(view, event.prompt, event.place, self.queue.public(view)))

    def on_curve_wanted(self, event: CurveWanted, request: gr.Request, name: str) -> Any:
        """The numbers of another run, or the names of runs that have some."""
        view = self.queue.run(name)
        if view is None:
            return gr.skip()
        if event.whole:
            lazy, _ = graph_view.read_graph(view, self.queue.losses(view.job.folder).numbers(), "")
            return lazy.make()
        return json.dumps(graph_view.answer(self.queue, name, event.run))

    def on_fetched(self, event: FileWanted, request: gr.Request, name: str) -> Shown:
        """Create the requested file and let the browser save it."""
        view = self.queue.run(name)
        if view is None:
            return {self.notice: banner(words.NO_SUCH_RUN[0], kind="problem")}
        try:
            entry = self.library.of_run(view.job.name) if event.file in ("style", "put") else None
            target = self._target(actor_of(request), entry)
            if event.file == "put":
                return {self.notice: banner(put_into(_present(entry), self.services.programs.of(target)))}
            place = self._file(view, event.file, entry, target)
        except (OSError, VelaturaError) as error:
            return {self.notice: banner(shared.NO_FILE.format(message_of(error)), kind="problem")}
        return {self.files: {"address": file_address(place), "name": place.name, "nonce": place.parent.name}}

    # ---------------------------------------------------------------- within
    def _change(
        self, change: Callable[[View], None], request: gr.Request, name: str, drawn: str, count: int = 0
    ) -> Shown:
        """Change files of the run for its owner and show the result, with the `count` of a stored text."""
        notice: str = ""
        try:
            view = self.queue.find(name)
            actor_of(request).check(view.job.name, view.job.owner)
            change(view)
        except (OSError, VelaturaError) as error:
            notice, count = in_a_banner(error), 0
        return {self.notice: notice} | self.refresh(name, drawn, NOTHING_SEEN, request, count)

    def _file(self, view: View, what: str, entry: StyleEntry | None, target: Target) -> Path:
        public = self.queue.public(view)
        if what == "samples":
            return samples.archive(view, public)
        if what == "report":
            place = name_for_download(public, f"velatura-report-{view.job.id}.zip")
            write_report(read_report(view.job.folder, view.job.owner), place)
            return place
        if what == "numbers":
            return offer_numbers(view.job.name, self.queue.losses(view.job.folder).numbers(), public)
        style = chosen.chosen_style(view.job.folder, chosen.choice_of(view))
        if style is None:
            raise VelaturaError(words.NO_STYLE)
        if entry is not None:
            return self.library.download(entry, target if self.library.serves(entry, target) else "safetensors")
        return offer_file(style, public, f"{view.job.name}{SUFFIX}")

    def _put(self, event: RunAction) -> str:
        """Put the run's style into a program whose folder was typed, and return the report."""
        try:
            place = self.services.programs.remember(kind_called(event.program), Path(event.folder.strip()))
            return banner(put_into(_present(self.library.of_run(self.queue.find(event.about).job.name)), place))
        except (OSError, VelaturaError) as error:
            return in_a_banner(error)

    def _gains(self, view: View, entry: StyleEntry | None, actor: Actor, choice: chosen.Choice) -> dict[str, Control]:
        """The controls of a run's style: its download, named after its step and program, and the way into a program."""
        target, programs = self._target(actor, entry), self.services.programs
        step = chosen.chosen_step(view, choice)
        served = entry is not None and self.library.serves(entry, target)
        label = words.DOWNLOAD_FOR if served else words.DOWNLOAD_STEP
        named = label.format(step=step, program=TITLES.get(target, "")) if step is not None else shared.DOWNLOAD
        gains: dict[str, Control] = {"download": Fetch(named, "style")}
        if entry is None or entry.starter or entry.only_here or not programs.allowed:
            return gains
        if served and any(place.kind == target for place in programs.found()):
            gains["put"] = Fetch(shared.PUT_INTO.format(TITLES[target]), "put")
        return gains | {"put-elsewhere": Button(shared.PUT_ELSEWHERE, "put", view.job.name)}

    def _target(self, actor: Actor, entry: StyleEntry | None) -> Target:
        """The program that somebody makes styles for; until they choose, one on this computer that opens this style."""
        target, programs = self.services.preferences.read(actor.key).program, self.services.programs
        if target or entry is None or not programs.allowed:
            return target
        return next((place.kind for place in programs.found() if self.library.serves(entry, place.kind)), target)

    def _readers(self, entry: StyleEntry | None) -> str:
        """The programs that read the run's style; "" if only Velatura does."""
        return who_reads(entry) if entry is not None and (entry.starter or entry.only_here) else ""

    def _values(self, view: View, drawn: str, actor: Actor, noted: int) -> tuple[dict[str, str | DeferredPart], str]:
        """The parts of the page, and the version of the run's numbers in them."""
        public, folder = self.queue.public(view), view.job.folder
        choice = chosen.choice_of(view)
        has_style = chosen.chosen_style(folder, choice) is not None
        entry = self.library.of_run(folder.name) if has_style else None
        identifier = entry.id if entry is not None else ""
        gains = self._gains(view, entry, actor, choice) if has_style else {}
        acts = read_acts(view, bool(samples.find_samples(folder)), gains, identifier, actor)
        numbers = self.queue.losses(folder).numbers()
        graph, now = graph_view.read_graph(view, numbers, drawn)
        ranks = read_rank_map(view, public)
        starts = StartTimes(self.queue.paths, self.queue.jobs)
        values: dict[str, str | DeferredPart] = {
            "head": render("runs/head.html", head=read_head(view, actor, starts.seconds_until(view))),
            "acts": render("runs/acts.html", acts=acts, readers=self._readers(entry)),
            "sheet": sheet_view.read_sheet(view, public, actor, identifier, choice=choice),
            "note": render(
                "runs/note.html",
                about=view.job.name,
                notes=read_notes(folder),
                longest=LONGEST_NOTE,
                may=actor.may_change(view.job.owner),
                ack=noted,
            ),
            "graph": graph,
            "ranks": render("runs/ranks.html", ranks=ranks) if ranks else "",
        }
        return values, now


def _pace(state: State) -> int:
    """Seconds until the page's next refresh."""
    return LATER if state in ENDED else SOON if state in PASSING else STEADY


def _present(entry: StyleEntry | None) -> StyleEntry:
    """The style of a run. VelaturaError without one."""
    if entry is None:
        raise VelaturaError(words.NO_STYLE)
    return entry


def _nothing() -> dict[str, str]:
    title, lead = words.NO_SUCH_RUN
    head = macro("empty_page", title, lead, shared.TO_THE_RUNS, "runs")
    return {"head": head, "acts": "", "sheet": "", "note": "", "graph": "", "ranks": ""}
