"""The first step of Train: pictures come in, are looked at, and get their captions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.errors import as_sentence
from app.studio.dataset import edits
from app.studio.dataset.caption_jobs import Progress
from app.studio.dataset.drafts import Draft
from app.studio.dataset.uploads import Upload, refuse, sender_folder, take_folder, take_in
from app.studio.runs.clone import brought_back, clone_into, let_go
from app.studio.services import Services
from app.ui.components import text as shared
from app.ui.components.controls import Button, banner
from app.ui.components.errors import error_line, in_a_banner, with_error_line
from app.ui.components.events import UploadedFile, key_of, tab_of, wire
from app.ui.components.shell import AT_ONCE, EACH, EACH_IN_TURN, block, island
from app.ui.document.templates import macro, render
from app.ui.login.sender import sender_of
from app.ui.train import events, images_view
from app.ui.train import text as words
from app.ui.train.caption_tools import build_tools, none_empty, preview, writing
from app.ui.train.samples_view import read_strips
from trainers.data.captioning import CAPTIONERS
from trainers.data.sample_sets import read_sets
from trainers.errors import VelaturaError

LONG_AGO = 3600
INGEST: dict[str, Any] = EACH_IN_TURN | {"concurrency_limit": 2, "concurrency_id": "ingest"}
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the step out and wire it."""
    step = PicturesStep(services)
    handle = partial(with_error_line, line=step.error_line)
    demo.load(handle(step.load), None, step.everything, **AT_ONCE)
    wire(step.zone, events.FILES, step, None, step.everything, **INGEST)
    wire(step.zone, events.SAMPLES, step, None, step.everything, wrap=handle, **INGEST)
    wire(step.editor, events.EDITOR, step, None, step.everything, wrap=handle, **EACH)
    wire(step.editor, events.RETURNS, step, None, [step.notice, step.error_line], wrap=handle, **EACH)
    for part in (step.editor, step.left, step.foot, step.notice, step.tools):
        wire(part, events.BUTTONS, step, None, step.everything, wrap=handle, **EACH)
    wire(step.tools, events.TOOLS, step, None, step.everything, wrap=handle, **EACH)
    wire(step.tools, events.FINDING, step, None, [step.tools], **EACH)
    step.timer.tick(handle(step.ticked), None, step.everything, **AT_ONCE)


class PicturesStep:
    """The parts of the step and what happens in them. Every action is a change of the draft, then shown."""

    def __init__(self, services: Services) -> None:
        self.services = services
        block(macro("heading", words.PICTURES_TITLE, words.PICTURES_LEAD))
        self.zone = island(
            {},
            ("components/reachable.js", "components/uploads.js", "train/dropzone.js"),
            render("train/zone.html", strips=read_strips(services.paths)),
            elem_id="zone",
            words=words.ZONE,
        )
        self.notice = island("", "components/asks.js", "${value}", elem_id="notice")
        self.left = island("", "components/asks.js", "${value}", elem_id="left-out")
        self.tools = build_tools()
        self.general = block("", elem_id="general")
        self.editor = island(
            "",
            ("components/unsent.js", "components/merge.js", "components/fields.js", "train/captions.js"),
            '<ul class="cards"></ul>',
            elem_id="editor",
        )
        self.error_line = error_line()
        self.foot = island("", "components/asks.js", "${value}", elem_id="foot")
        self.timer = gr.Timer(1, active=False)
        self.everything = [
            self.zone, self.notice, self.left, self.tools, self.general, self.editor, self.error_line, self.foot,
            self.timer,
        ]  # fmt: skip

    def load(self, request: gr.Request) -> Shown:
        """What a page shows when it is opened."""
        key, said = key_of(request), self._clone(request)
        draft = self.services.drafts.look(key)
        shown = self._whole(draft) | {self.tools: {"trigger": draft.trigger}}
        if said or draft.aside or draft.restored:
            shown[self.notice] = said or _notice(draft) or _aside(draft)
        elif draft.pictures and time.time() - draft.changed > LONG_AGO:
            back = words.still_here(len(draft.pictures), draft.changed, time.time())
            shown[self.notice] = banner(
                back, Button(words.KEEP_GOING, "dismiss-notice"), Button(words.START_FRESH, "fresh")
            )
        state = self.services.caption_jobs.look(key)
        return shown | self._writing(state) if state.busy else shown

    def _clone(self, request: gr.Request) -> str:
        """Make the draft that of the run which the address names, if it names one; what is said about it."""
        name = str(request.query_params.get("clone", ""))
        if not name:
            return ""
        try:
            view = self.services.queue.find(name)
            self.services.caption_jobs.stop(key_of(request))
            return _aside(clone_into(self.services.drafts, key_of(request), view, tab_of(request)), view.job.name)
        except (OSError, VelaturaError) as error:
            return banner(as_sentence(error), kind="problem")

    def on_files_uploaded(self, event: events.FilesUploaded, request: gr.Request) -> Shown:
        """Take in a few files that have been uploaded."""
        key, error_text = key_of(request), ""
        landed = {self.zone: {"batch": event.batch}}
        try:
            folder = sender_folder(self.services.uploads, sender_of(request.username, request.cookies))
            self._take(key, event.files, folder)
        except (OSError, VelaturaError) as error:
            error_text = in_a_banner(error)
        try:
            draft = self.services.drafts.read(key)
        except (OSError, VelaturaError) as error:
            return landed | {self.error_line: in_a_banner(error)}
        return self._whole(draft) | landed | {self.notice: _notice(draft), self.error_line: error_text}

    def on_sample_chosen(self, event: events.SampleChosen, request: gr.Request) -> Shown:
        """Take a bundled set."""
        chosen, key = read_sets().get(event.sample), key_of(request)
        draft = take_folder(self.services.drafts, key, chosen.folder) if chosen else self.services.drafts.read(key)
        return self._whole(draft) | {self.notice: ""}

    def on_caption_edited(self, event: events.CaptionEdited, request: gr.Request) -> Shown:
        """Keep one caption."""
        change = partial(edits.with_caption, identifier=event.id, text=event.text, was=event.was)
        return self._do(request, event, change, event.count)

    def on_trigger_edited(self, event: events.TriggerEdited, request: gr.Request) -> Shown:
        """Keep the trigger word."""
        shown = self._do(request, event, partial(edits.with_trigger, text=event.text), event.count)
        trigger = self.services.drafts.read(key_of(request)).trigger
        return shown | {self.tools: {"trigger": trigger, "kept": event.count, "nonce": time.time()}}

    def on_find_edited(self, event: events.FindEdited, request: gr.Request) -> Shown:
        """Show what replacing would change."""
        draft = self.services.drafts.read(key_of(request))
        return {self.tools: {"preview": preview(draft, event.find, event.replace), "nonce": time.time()}}

    def on_captions_replaced(self, event: events.CaptionsReplaced, request: gr.Request) -> Shown:
        """Replace in all captions."""

        def change(draft: Draft) -> Draft:
            return edits.with_captions(draft, edits.replacements(draft, event.find, event.replace))

        return self._do(request, event, change) | self.on_find_edited(event, request)

    def on_captions_wanted(self, event: events.CaptionsWanted, request: gr.Request) -> Shown:
        """Let a model write."""
        if event.model not in CAPTIONERS:
            return {self.tools: gr.skip()}
        key, jobs = key_of(request), self.services.caption_jobs
        if not jobs.start(key, event.model, only_empty=event.which != "all", owner=request.username or ""):
            return {self.tools: {"writing": none_empty(), "nonce": time.time()}}
        return self._writing(jobs.look(key))

    def ticked(self, request: gr.Request) -> Shown:
        """Show what a model has written since."""
        key = key_of(request)
        before = self.services.drafts.read(key)
        state = self.services.caption_jobs.look(key)
        after = self.services.drafts.read(key)
        shown = self._difference(before, after) if before.revision != after.revision else {}
        return shown | self._writing(state)

    def on_page_returned(self, event: events.PageReturned, request: gr.Request) -> Shown:
        """Say so when the page that has come to the front is not the newest."""
        draft = self.services.drafts.read(key_of(request))
        if event.seen >= draft.revision:
            return {}
        return {self.notice: _notice(draft) or banner(words.CHANGED_ELSEWHERE, Button(words.SHOW_NEWER, "show"))}

    def on_asked(self, event: events.PicturesAction, request: gr.Request) -> Shown:
        """What a button wants."""
        what, about = event.what, event.about
        changes: dict[str, Callable[[Draft], Draft]] = {
            "remove": partial(self._without, identifier=about),
            "leave": partial(self._without, identifier=about),
            "fresh": edits.emptied,
            "undo": edits.undone,
            "dismiss": partial(edits.dismissed, identifier=about),
            "take": partial(edits.with_rival, identifier=about, take=True),
            "keep": partial(edits.with_rival, identifier=about, take=False),
            "mask": edits.masked,
            "read-notice": edits.notice_read,
            "bring-back": brought_back,
            "let-go": let_go,
        }
        if what in ("fresh", "stop-captions", "bring-back"):
            self.services.caption_jobs.stop(key_of(request))
        if what == "stop-captions":
            return self.ticked(request)
        if what in ("show", "whole"):
            draft = self.services.drafts.read(key_of(request))
            if what == "whole":
                return self._whole(draft)
            return self._whole(draft) | {self.notice: _notice(draft), self.tools: {"trigger": draft.trigger}}
        if what == "dismiss-notice":
            return {self.notice: ""}
        shown = self._do(request, event, changes[what])
        if what in ("fresh", "undo", "bring-back"):
            shown[self.tools] = {
                "trigger": self.services.drafts.read(key_of(request)).trigger,
                "close": what == "fresh",
            }
        if what in ("fresh", "bring-back"):  # what is said below the tools was about the draft before
            shown[self.tools] |= {"writing": "", "preview": "", "nonce": time.time()}
        return shown

    def _without(self, draft: Draft, identifier: str) -> Draft:
        return edits.without(draft, [identifier])

    def _do(self, request: gr.Request, event: events.Seen, change: Callable[[Draft], Draft], count: int = 0) -> Shown:
        """Change the draft and show what differs; all of it to a page that did not know the newest state."""
        drafts, key, tab = self.services.drafts, key_of(request), tab_of(request)
        befores: list[Draft] = []

        def noted(draft: Draft) -> Draft:
            befores.append(draft)
            return change(draft)

        after = drafts.change(key, noted, tab)
        before = befores[-1]
        if event.seen == before.revision:
            return self._difference(before, after, count) | {self.notice: _notice(after)}
        shown = self._whole(after, count) | {self.notice: _notice(after)}
        if before.tab not in (tab, "writer"):
            shown |= {self.notice: banner(words.BOTH_KEPT), self.tools: {"trigger": after.trigger}}
        return shown | {self.notice: _notice(after)} if after.restored else shown

    def _take(self, key: str, files: Sequence[UploadedFile], folder: Path) -> None:
        uploads = [Upload(Path(file.path), file.name) for file in files if file.path]
        take_in(self.services.drafts, key, uploads, folder)
        for file in files:
            if not file.path:
                refuse(self.services.drafts, key, file.name, file.problem[:300])

    def _whole(self, draft: Draft, acknowledged: int = 0) -> Shown:
        report = self.services.checker.report(draft)
        cards = images_view.read_cards(self.services.drafts, draft, report)
        return self._around(draft) | {self.editor: images_view.sheet(draft, cards, None, acknowledged)}

    def _difference(self, before: Draft, after: Draft, acknowledged: int = 0) -> Shown:
        if [one.id for one in before.pictures] != [one.id for one in after.pictures]:
            return self._whole(after, acknowledged)
        drafts, checker = self.services.drafts, self.services.checker
        old = set(images_view.read_cards(drafts, before, checker.report(before)))
        changed = [card for card in images_view.read_cards(drafts, after, checker.report(after)) if card not in old]
        return self._around(after) | {self.editor: images_view.sheet(after, changed, before.revision, acknowledged)}

    def _around(self, draft: Draft) -> Shown:
        report = self.services.checker.report(draft)
        return {
            self.left: images_view.left_out(draft),
            self.general: images_view.general(report),
            self.foot: images_view.foot(draft, report),
        }

    def _writing(self, state: Progress) -> Shown:
        return {
            self.tools: {"writing": writing(state), "busy": state.busy, "nonce": time.time()},
            self.timer: gr.Timer(active=state.busy),
        }


def _notice(draft: Draft) -> str:
    """What has to be said about the draft's file, until somebody has read it."""
    return (
        banner(words.draft_restored(draft.restored), Button(shared.DISMISS, "read-notice"), kind="problem")
        if draft.restored is not None
        else ""
    )


def _aside(draft: Draft, clone_of: str = "") -> str:
    """What is said over a clone, and over a draft for which another one was kept aside."""
    kept = draft.aside
    acts = [Button(words.BRING_BACK, "bring-back"), Button(words.LET_GO, "let-go")] if kept else []
    return banner(words.cloned(clone_of, len(kept.pictures) if kept else 0), *acts)
