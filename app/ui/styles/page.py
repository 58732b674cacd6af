"""The page Styles: trained and imported styles to view, download, try, rename and delete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from app.errors import as_sentence
from app.jobs.permissions import Actor
from app.jobs.states import ENDED
from app.jobs.view import View
from app.language import Sentence, translate
from app.studio.dataset.uploads import MOST_BYTES_A_FILE, MOST_NAME, sender_folder
from app.studio.programs.find import PROGRAMS, kind_called
from app.studio.services import Services
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import GONE, no_safetensors, too_large
from app.ui.components import text as shared
from app.ui.components.controls import Link, banner
from app.ui.components.download_menu import INTO, StyleFileWanted, make_download, put_into
from app.ui.components.events import UploadedFile, actor_of, at_most, wire
from app.ui.components.live import AtRequest, block, merged_part, now_us
from app.ui.components.live_parts import NOTHING_SEEN, LiveParts
from app.ui.components.pagination import ListChoice, pages
from app.ui.components.shell import EACH, build_shell, scripted_part
from app.ui.components.trash_link import trash_link
from app.ui.document.templates import macro, render
from app.ui.login.sender import sender_of
from app.ui.styles import text as words
from app.ui.styles.events import ACTIONS, FILES, UPLOADS, FilesUploaded, StyleAction
from app.ui.styles.view import read_card
from trainers.errors import VelaturaError
from trainers.messages import joined

A_PAGE, MOST_UNLISTED = 24, 10
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and connect its events."""
    build_shell("Styles", services.queue)
    page = StylesPage(services)
    page.live.listen(demo.load, page.refresh, [page.filter, page.live.seen], page.everything)
    for part in (page.notice, page.list):
        wire(part, ACTIONS, page, [page.filter], page.everything, **EACH)
    wire(page.list, FILES, page, None, [page.files, page.notice], **EACH)
    wire(page.intake, UPLOADS, page, [page.filter], [page.intake, *page.everything], wrap=at_most(2), **EACH)


class StylesPage:
    """The parts of the page and their event handlers."""

    def __init__(self, services: Services) -> None:
        self.services, self.library = services, services.library
        with gr.Row(elem_id="styles-head"):
            block(AtRequest(macro, "heading", words.TITLE))
            self.intake = scripted_part(
                {},
                (
                    "components/reachable.js",
                    "components/uploads.js",
                    "components/dropped.js",
                    "components/copy.js",
                    "styles/import.js",
                ),
                AtRequest(render, "styles/import.html"),
                elem_id="styles-intake",
                words=words.ZONE | {"most": MOST_BYTES_A_FILE // 2**20},
            )
        self.notice = merged_part("components/clicks.js", elem_id="styles-notice")
        self.filter = scripted_part(
            "{}", "components/filter.js", AtRequest(render, "styles/filter.html"), elem_id="styles-filter"
        )
        self.list = merged_part("components/menus.js", elem_id="styles")
        self.files = scripted_part({}, "components/save.js", "<div></div>")
        scripted_part(None, "components/dialogs.js", AtRequest(render, "styles/dialogs.html", programs=PROGRAMS))
        self.live = LiveParts({"list": self.list})
        self.everything = [self.notice, *self.live.outputs]

    def refresh(self, chosen: str, seen: str, request: gr.Request) -> Shown:
        """The parts that have changed since the page's last refresh."""
        began = now_us()
        views = {view.job.name: view for view in self.services.queue.runs()}
        busy = [view for view in views.values() if view.state not in ENDED]
        actor = actor_of(request)
        value = self._listing(self.library.entries(), views, busy, ListChoice.read(chosen), actor)
        return self.live.answer(seen, {"list": value}, began)

    def on_asked(self, event: StyleAction, request: gr.Request, chosen: str) -> Shown:
        """Perform the action of a button and show the result."""
        try:
            notice = self._do(event, actor_of(request))
        except (OSError, VelaturaError) as error:
            notice = _problem(error)
        return {self.notice: notice} | self.refresh(chosen, NOTHING_SEEN, request)

    def on_fetched(self, event: StyleFileWanted, request: gr.Request) -> Shown:
        """Create the requested file and let the browser save it, or put it into a program."""
        try:
            format, _, identifier = event.file.partition(" ")
            if format.startswith(INTO):
                place = self.services.programs.of(format.removeprefix(INTO))
                return {self.notice: banner(put_into(self._item(identifier), place))}
            return {self.files: make_download(self.library, event)}
        except (OSError, VelaturaError) as error:
            return {self.notice: _problem(error)}

    def on_files_uploaded(self, event: FilesUploaded, request: gr.Request, chosen: str) -> Shown:
        """Import uploaded files, each on its own."""
        folder = sender_folder(self.services.uploads, sender_of(request.username, request.cookies))
        taken, refused = [], []
        for file in event.files:
            try:
                taken.append(self._take_in(file, folder, actor_of(request).name))
            except (OSError, VelaturaError) as error:
                refused.append(_problem(error))
        notice = Markup().join([*refused, *([_welcome(taken)] if taken else [])])
        return {self.intake: {"ack": event.count}, self.notice: notice} | self.refresh(chosen, NOTHING_SEEN, request)

    # ---------------------------------------------------------------- within
    def _item(self, identifier: str) -> StyleEntry:
        item = self.library.entry(identifier)
        if item is None:
            raise VelaturaError(GONE)
        return item

    def _take_in(self, file: UploadedFile, folder: Path, owner: str) -> StyleEntry:
        """Import an uploaded file, or raise the page's reason for not uploading it."""
        name, problem = file.name[:MOST_NAME], file.problem
        if problem == "other":
            raise VelaturaError(no_safetensors(name))
        if problem == "large":
            anywhere = self.services.bases.anywhere
            place = words.PUT_IT.format(self.services.paths.styles.resolve()) if anywhere else words.ASK_TO_PUT_IT
            raise VelaturaError(joined(" ", (Sentence.of(too_large(name)), place)))
        if problem == "failed":
            raise VelaturaError(words.ARRIVED_NOT.format(name))
        if problem:  # the upload's refusal
            raise VelaturaError(words.REFUSED.format(name, problem[:300]))
        return self.library.take_in(Path(file.path), name, folder, owner)

    def _do(self, event: StyleAction, actor: Actor) -> str:
        """Perform an action; returns the line to show."""
        item = self._item(event.about)
        if event.what == "rename":
            return banner(words.RENAMED.format(self.library.rename(item, event.name, actor=actor).name))
        if event.what == "put":
            place = self.services.programs.remember(kind_called(event.program), Path(event.folder.strip()))
            return banner(put_into(item, place))
        self.library.remove(item, bool(item.run) and event.what == "delete-with-run", actor=actor)
        return ""

    def _listing(
        self, found: list[StyleEntry], views: dict[str, View], busy: list[View], choice: ListChoice, actor: Actor
    ) -> Markup:
        unlisted = self.library.unlisted()
        more = [shared.AND_MORE.format(len(unlisted) - MOST_UNLISTED)] if len(unlisted) > MOST_UNLISTED else []
        below = {
            "unlisted": [Sentence.of(why) for why in (*unlisted[:MOST_UNLISTED], *more)],
            "trash_link": trash_link(self.services.queue, actor),
        }
        if not found:
            return render("styles/empty.html", first=busy[0].job.name if busy else "", **below)
        fitting = [item for item in found if choice.finds(_said_of(item))]
        fitting = choice.ordered(fitting, lambda item: item.name, lambda item: item.size)
        page = min(choice.page, max(1, -(-len(fitting) // A_PAGE)))
        shown = fitting[(page - 1) * A_PAGE : page * A_PAGE]
        programs = self.services.programs
        places = programs.found() if programs.allowed else None
        cards = [read_card(self.library, item, views.get(item.run), actor, places) for item in shown]
        return render("styles/list.html", cards=cards, pages=pages(page, len(fitting), A_PAGE), **below)


def _said_of(item: StyleEntry) -> str:
    return " ".join((item.name, *item.words, translate(words.method(item.method)), item.base, item.about.line))


def _welcome(taken: list[StyleEntry]) -> Markup:
    if len(taken) > 1:
        return banner(words.ARE_HERE.format(len(taken)))
    return banner(words.IS_HERE.format(taken[0].name), Link(shared.TRY_IT, f"playground?style={taken[0].id}", "small"))


def _problem(error: Exception) -> Markup:
    """An error as a banner with its cause as details."""
    cause = error if isinstance(error, OSError) else error.__cause__
    details = f"{type(cause).__name__}: {cause}" if cause is not None else ""
    sentence = shared.NO_FILE.format(error.strerror or error) if isinstance(error, OSError) else as_sentence(error)
    return banner(sentence, kind="problem", details=details)
