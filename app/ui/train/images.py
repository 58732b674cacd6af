"""Step 1 of Train: pictures arrive and get their captions."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.errors import as_sentence
from app.jobs.permissions import Actor
from app.studio.dataset import edits
from app.studio.dataset.done_edits import DoneEdits
from app.studio.dataset.drafts import WHOLE, Draft
from app.studio.dataset.exports import export_captions
from app.studio.dataset.previews import large_preview
from app.studio.dataset.uploads import Upload, refuse, sender_folder, take_folder, take_in, take_mask
from app.studio.runs.clone import brought_back, clone_into, without_aside
from app.studio.services import Services
from app.studio.settings.plan import with_folder_setting
from app.studio.styles.train_on import find_style, train_on
from app.ui.components.controls import Button, banner
from app.ui.components.errors import error_line, in_a_banner, with_error_line
from app.ui.components.events import actor_of, at_most, wire
from app.ui.components.live import AtRequest, block, merged_part, now_us
from app.ui.components.live_parts import Refresher
from app.ui.components.shell import AT_ONCE, EACH, scripted_part
from app.ui.document.templates import macro, render
from app.ui.gradio_internals import file_address
from app.ui.login.sender import sender_of
from app.ui.train import events, images_view, wall_text
from app.ui.train import text as words
from app.ui.train.image_sets_view import read_strips
from trainers.captioning.models import CAPTIONERS
from trainers.data.sample_sets import read_sets
from trainers.data.source import make_crop
from trainers.errors import VelaturaError

WALL = (
    "train/rows.js",
    "train/captions.js",
    "train/edits.js",
    "train/wall.js",
    "train/selection.js",
    "train/changes.js",
)
"""The scripts of the wall, in order of their dependencies."""
OVERVIEW = (
    "components/unsent.js",
    "components/fields.js",
    "components/in_turn.js",
    "components/clicks.js",
    "train/overview.js",
)
INTAKES = 2
"""Maximum number of concurrent imports, as each decodes its pictures."""
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks, steps: gr.HTML | None = None) -> None:
    """Lay the step out and connect its events; `steps` triggers an event when the step is shown again."""
    step = PicturesStep(services)
    handle = partial(with_error_line, line=step.error_line)
    demo.load(handle(step.load), None, step.everything, **AT_ONCE)
    few = at_most(INTAKES)
    wire(step.zone, events.FILES, step, None, step.everything, wrap=few, **EACH)
    wire(step.zone, events.SAMPLES, step, None, step.everything, wrap=lambda answer: few(handle(answer)), **EACH)
    wire(step.editor, events.EDITOR, step, None, step.everything, wrap=handle, **EACH)
    wire(step.editor, events.OPENED, step, None, [step.editor, step.error_line], wrap=handle, **EACH)
    wire(step.editor, events.FETCHED, step, None, [step.files, step.error_line], wrap=handle, **EACH)
    wire(step.editor, events.RETURNS, step, None, [step.notice, step.error_line], wrap=handle, **EACH)
    for part in (step.editor, step.overview, step.foot, step.notice, step.tools):
        wire(part, events.BUTTONS, step, None, step.everything, wrap=handle, **EACH)
    wire(step.overview, events.FOLDERS, step, None, step.everything, wrap=handle, **EACH)
    if steps is not None:
        wire(steps, events.STEPS, step, None, [step.overview, step.error_line], wrap=handle, **EACH)
    wire(step.tools, events.TOOLS, step, None, step.everything, wrap=handle, **EACH)
    wire(step.tools, events.FINDING, step, None, [step.tools], **EACH)
    step.refresher.listen(handle(step.refresh), None, step.everything)


class PicturesStep:
    """The parts of the step and their event handlers; each handler changes the draft, then shows it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._done = DoneEdits()
        block(AtRequest(macro, "heading", words.PICTURES_TITLE, words.PICTURES_LEAD))
        self.zone = scripted_part(
            {},
            ("components/reachable.js", "components/uploads.js", "components/dropped.js", "train/dropzone.js"),
            AtRequest(render, "train/zone.html", strips=read_strips(services.paths)),
            elem_id="zone",
            words=words.ZONE,
        )
        self.notice = merged_part("components/clicks.js", elem_id="notice")
        self.tools = scripted_part(
            {},
            ("components/unsent.js", "components/in_turn.js", "train/caption_tools.js"),
            AtRequest(
                lambda: render(
                    "train/tools.html",
                    models=[*((name, it.title, it.words) for name, it in CAPTIONERS.items()), words.SERVER],
                    server=services.caption_servers.read(),
                )
            ),
            elem_id="tools",
            words=words.SCOPE,
        )
        self.overview = merged_part(*OVERVIEW, elem_id="overview")
        self.editor = scripted_part(
            {}, ("components/unsent.js", "components/fetch.js", *WALL), AtRequest(render, "train/wall.html"),
            elem_id="editor", words=wall_text.SCRIPT,
        )  # fmt: skip
        self.files = scripted_part({}, "components/save.js", elem_id="draft-files")
        self.error_line = error_line()
        self.foot = merged_part("components/clicks.js", elem_id="foot")
        self.refresher = Refresher(on_every_step=True)
        self.everything = [
            self.zone, self.notice, self.tools, self.overview, self.editor, self.error_line, self.foot,
            self.refresher.part,
        ]  # fmt: skip

    def load(self, request: gr.Request) -> Shown:
        """The step for a page that was opened."""
        key, notice = actor_of(request).key, self._asked(request)
        shown = self._whole(draft := self.services.drafts.look(key)) | {self.tools: images_view.trigger(draft)}
        if notice or draft.aside or draft.restored:
            shown[self.notice] = notice or images_view.notice(draft) or images_view.aside(draft)
        else:
            shown[self.notice] = images_view.welcome_back(draft, time.time(), self._trained_as(draft))
        return shown | self._writing(key) if self.services.caption_jobs.look(key).busy else shown

    def _trained_as(self, draft: Draft) -> str:
        """The run last started with these pictures; "" if it no longer exists."""
        with suppress(VelaturaError):
            return self.services.queue.find(draft.started[1]).job.name if draft.started else ""
        return ""

    def _asked(self, request: gr.Request) -> str:
        """Perform the request in the address: clone a run, or start from a style; returns the line to show."""
        actor, query = actor_of(request), request.query_params
        try:
            if name := str(query.get("clone", "")):
                view = self.services.queue.find(name)
                self.services.caption_jobs.stop(actor.key)
                return images_view.aside(clone_into(self.services.drafts, actor.key, view, actor.tab), view.job.name)
            if style := str(query.get("start", "")):
                item = find_style(self.services.library, style)
                self.services.drafts.change(actor.key, partial(train_on, item=item), actor.tab)
                return banner(wall_text.TRAINS_ON.format(name=item.name))
        except (OSError, VelaturaError) as error:
            return banner(as_sentence(error), kind="problem")
        return ""

    def on_files_uploaded(self, event: events.FilesUploaded, request: gr.Request) -> Shown:
        """Import some uploaded files."""
        key, error_text = actor_of(request).key, ""
        landed = {self.zone: {"ack": event.count}}
        try:
            before = self.services.drafts.read(key)
            self._take(key, event, self._folder(request))
        except (OSError, VelaturaError) as error:
            error_text = in_a_banner(error)
        try:
            draft = self.services.drafts.read(key)
        except (OSError, VelaturaError) as error:
            return landed | {self.error_line: in_a_banner(error)}
        shown = self._since(event, before, draft) if not error_text else self._whole(draft)
        if not error_text and draft.trigger != before.trigger:  # a folder's name can suggest one
            shown[self.tools] = images_view.trigger(draft)
        return shown | landed | {self.notice: images_view.newest_notice(draft), self.error_line: error_text}

    def on_step_shown(self, event: events.StepShown, request: gr.Request) -> Shown:
        """The settings of groups, which step 2 can change, too."""
        if event.step != "pictures":
            return {}
        return {self.overview: self._around(self.services.drafts.read(actor_of(request).key))[self.overview]}

    def on_folder_setting_typed(self, event: events.FolderSettingTyped, request: gr.Request) -> Shown:
        """Store a setting of a folder's pictures; acknowledged in the overview."""
        actor = actor_of(request)
        change = partial(with_folder_setting, folder=event.folder, name=event.name, text=event.text)
        shown = self._do(actor, event, change)
        return shown | self._around(self.services.drafts.read(actor.key), event.count)

    def on_sample_chosen(self, event: events.SampleChosen, request: gr.Request) -> Shown:
        """Import a bundled image set."""
        chosen, key = read_sets().get(event.sample), actor_of(request).key
        draft = take_folder(self.services.drafts, key, chosen.folder) if chosen else self.services.drafts.read(key)
        return self._whole(draft) | {self.notice: ""}

    def on_caption_edited(self, event: events.CaptionEdited, request: gr.Request) -> Shown:
        """Store a caption."""
        change = partial(edits.with_caption, identifier=event.id, text=event.text, was=event.was)
        return self._edit(actor_of(request), event, change)[0]

    def on_trigger_edited(self, event: events.TriggerEdited, request: gr.Request) -> Shown:
        """Store the trigger word; acknowledged in the tools, as its attempts are counted apart from the pictures'."""
        actor = actor_of(request)
        shown = self._do(actor, event, partial(edits.with_trigger, text=event.text))
        draft = self.services.drafts.read(actor.key)
        return shown | {self.tools: images_view.trigger(draft) | {"ack": event.count, "nonce": time.time()}}

    def on_find_edited(self, event: events.FindEdited, request: gr.Request) -> Shown:
        """Show the effect of a replacement."""
        draft = self.services.drafts.read(actor_of(request).key)
        return {
            self.tools: {
                "preview": images_view.preview(draft, event.find, event.replace, event.ids),
                "of": event.count,
                "nonce": time.time(),
            }
        }

    def on_captions_replaced(self, event: events.CaptionsReplaced, request: gr.Request) -> Shown:
        """Replace a text in captions."""
        texts: dict[str, str] = {}

        def change(draft: Draft) -> Draft:
            texts.update(edits.replacements(draft, event.find, event.replace, set(event.ids)))
            return edits.with_captions(draft, texts)

        shown, _ = self._edit(actor_of(request), event, change)
        return shown | {self.tools: {"preview": images_view.replaced(len(texts), event.find), "nonce": time.time()}}

    def on_pictures_changed(self, event: events.PicturesChanged, request: gr.Request) -> Shown:
        """Apply a bulk action as one change; show a sentence if it changes nothing."""
        ids = set(event.ids)
        changes: dict[str, Callable[[Draft], Draft]] = {
            "add-before": partial(edits.with_words, identifiers=ids, words=event.text, after=False),
            "add-after": partial(edits.with_words, identifiers=ids, words=event.text, after=True),
            "remove-words": partial(edits.without_words, identifiers=ids, words=event.text),
            "group": partial(edits.with_folder, identifiers=ids, folder=event.text),
            "rotate-left": partial(edits.with_rotation, identifiers=ids, degrees=-90),
            "rotate-right": partial(edits.with_rotation, identifiers=ids, degrees=90),
            "crop": partial(edits.with_aspect, identifiers=ids, aspect=event.aspect),
            "delete": partial(edits.without, identifiers=event.ids),
            "restore": partial(edits.with_restored, identifiers=ids),
        }
        shown, changed = self._edit(actor_of(request), event, changes[event.what])
        if not changed and event.what in wall_text.NOTHING_TO_CHANGE:
            shown[self.editor] |= {"said": wall_text.NOTHING_TO_CHANGE[event.what].format(words=event.text)}
        return shown

    def on_picture_opened(self, event: events.PictureOpened, request: gr.Request) -> Shown:
        """Create large copies for the editor."""
        drafts = self.services.drafts
        draft = drafts.read(actor_of(request).key)
        addresses = {}
        for picture in filter(None, map(draft.picture, event.ids)):
            with suppress(OSError, VelaturaError):  # the page then keeps the small copy
                place = large_preview(drafts.pictures(draft) / f"{picture.id}.png", drafts.previews(draft))
                addresses[picture.id] = file_address(place)
        return {self.editor: {"large": addresses, "nonce": time.time()}}

    def on_picture_cropped(self, event: events.PictureCropped, request: gr.Request) -> Shown:
        """Store the rotation and the crop of a picture."""
        try:
            crop = make_crop(*(event.crop or WHOLE), event.rotation)
        except ValueError:
            return {self.editor: gr.skip()}

        def change(draft: Draft) -> Draft:
            picture = draft.picture(event.id)
            return edits.with_region(draft, event.id, picture.region.with_crop(crop)) if picture else draft

        return self._do(actor_of(request), event, change, event.count)

    def on_mask_painted(self, event: events.MaskPainted, request: gr.Request) -> Shown:
        """Store the mask of a picture, unless it would mask everything."""
        drafts, actor = self.services.drafts, actor_of(request)
        draft = drafts.read(actor.key)
        picture = draft.picture(event.id)
        try:
            path = Path(event.path)
            mask = take_mask(drafts, draft, picture, path, self._folder(request)) if picture and event.path else ""
        except VelaturaError:
            return {self.editor: {"problem": wall_text.ALL_IGNORED, "ack": event.count}}

        def change(now: Draft) -> Draft:
            current = now.picture(event.id)
            return (
                edits.with_region(now, event.id, current.region.model_copy(update={"mask": mask})) if current else now
            )

        return self._do(actor, event, change, event.count)

    def on_fetched(self, event: events.DraftFileWanted, request: gr.Request) -> Shown:
        """Create the file of captions and let the browser save it."""
        drafts = self.services.drafts
        place = export_captions(drafts, drafts.read(actor_of(request).key))
        return {self.files: {"address": file_address(place), "name": place.name, "nonce": place.parent.name}}

    def on_captions_wanted(self, event: events.CaptionsWanted, request: gr.Request) -> Shown:
        """Start captioning by a model."""
        actor, jobs, model, url = actor_of(request), self.services.caption_jobs, event.model, ""
        if model == words.SERVER[0]:
            may_choose = self.services.bases.anywhere or actor.is_admin
            try:
                server = self.services.caption_servers.choose(event.url, event.server_model, may_choose)
            except VelaturaError as error:
                return {self.tools: {"writing": images_view.refused(error), "nonce": time.time()}}
            model, url = server.model, server.url
        elif model not in CAPTIONERS:
            return {self.tools: gr.skip()}
        if not jobs.start(actor.key, model, event.which != "all", actor.name, set(event.ids) or None, url):
            return {self.tools: {"writing": images_view.none_empty(), "nonce": time.time()}}
        return self._writing(actor.key)

    def refresh(self, request: gr.Request) -> Shown:
        """Show the captions written since the last refresh."""
        key = actor_of(request).key
        before = self.services.drafts.read(key)
        shown = self._writing(key)
        after = self.services.drafts.read(key)
        return shown | (self._difference(before, after) if before.revision != after.revision else {})

    def on_page_returned(self, event: events.PageReturned, request: gr.Request) -> Shown:
        """Report that the page shows an older revision."""
        draft = self.services.drafts.read(actor_of(request).key)
        if event.seen >= draft.revision:
            return {}
        newer = banner(wall_text.CHANGED_ELSEWHERE, Button(wall_text.SHOW_NEWER, "show"))
        return {self.notice: images_view.notice(draft) or newer}

    def on_asked(self, event: events.PicturesAction, request: gr.Request) -> Shown:
        """Perform the action of a button."""
        what, about, actor = event.what, event.about, actor_of(request)
        changes: dict[str, Callable[[Draft], Draft]] = {
            "fresh": edits.emptied,
            "undo": edits.undone,
            "dismiss": partial(edits.dismissed, identifier=about),
            "take": partial(edits.with_rival, identifier=about, take=True),
            "keep": partial(edits.with_rival, identifier=about, take=False),
            "mask": edits.masked,
            "keep-one": self.services.checker.without_copies,
            "read-notice": edits.notice_read,
            "bring-back": brought_back,
            "let-go": without_aside,
            "lines-apart": partial(edits.with_lines_as, alternatives=True),
            "lines-joined": partial(edits.with_lines_as, alternatives=False),
        }
        if what in ("fresh", "stop-captions", "bring-back"):
            self.services.caption_jobs.stop(actor.key)
        if what == "stop-captions":
            return self.refresh(request)
        if what in ("show", "whole"):
            draft = self.services.drafts.read(actor.key)
            if what == "whole":
                return self._whole(draft)
            beside = {self.notice: images_view.newest_notice(draft), self.tools: images_view.trigger(draft)}
            return self._whole(draft) | beside
        if what == "dismiss-notice":
            return {self.notice: ""}
        shown = self._do(actor, event, changes[what])
        if what in ("fresh", "undo", "bring-back"):
            draft = self.services.drafts.read(actor.key)
            shown[self.tools] = images_view.trigger(draft) | {"close": what == "fresh"}
        if what in ("fresh", "bring-back"):  # the lines below the tools belong to the former draft
            shown[self.tools] |= {"writing": "", "preview": "", "nonce": time.time()}
        return shown

    def _edit(
        self, actor: Actor, event: events.Edit | events.CaptionEdited, change: Callable[[Draft], Draft]
    ) -> tuple[Shown, bool]:
        """Apply an edit once, however often the page sends it; returns the parts and whether the draft changed."""
        key, changed = actor.key, True

        def once(draft: Draft) -> Draft:
            nonlocal changed
            if self._done.has(key, event.mark):  # checked under the draft's lock, so no other attempt can interfere
                return draft
            after = change(draft)
            changed = after is not draft
            self._done.note(key, event.mark)
            return after

        with self._done.unless_it_fails(key, event.mark):
            return self._do(actor, event, once, event.count), changed

    def _do(self, actor: Actor, event: events.DraftEvent, change: Callable[[Draft], Draft], count: int = 0) -> Shown:
        """Change the draft and show the difference, or everything if the page's revision was not the newest."""
        drafts, key, tab = self.services.drafts, actor.key, actor.tab
        befores: list[Draft] = []

        def noted(draft: Draft) -> Draft:
            befores.append(draft)
            return change(draft)

        after = drafts.change(key, noted, tab)
        before = befores[-1]
        shown = self._since(event, before, after, count) | {self.notice: images_view.newest_notice(after)}
        if event.seen == before.revision:
            return shown
        if before.tab not in (tab, "writer"):
            shown |= {self.notice: banner(wall_text.BOTH_KEPT), self.tools: images_view.trigger(after)}
        return shown | {self.notice: images_view.newest_notice(after)} if after.restored else shown

    def _folder(self, request: gr.Request) -> Path:
        return sender_folder(self.services.uploads, sender_of(request.username, request.cookies))

    def _take(self, key: str, event: events.FilesUploaded, folder: Path) -> None:
        uploads = [Upload(Path(file.path), file.name) for file in event.files if file.path]
        take_in(self.services.drafts, key, uploads, folder, event.drop)
        for file in event.files:
            if not file.path:
                refuse(self.services.drafts, key, file.name, file.problem[:300])

    def _since(self, event: events.DraftEvent, before: Draft, after: Draft, acknowledged: int = 0) -> Shown:
        """The difference for a page that knows the revision `before`, else everything."""
        is_current = event.seen == before.revision
        return self._difference(before, after, acknowledged) if is_current else self._whole(after, acknowledged)

    def _whole(self, draft: Draft, acknowledged: int = 0) -> Shown:
        rows = images_view.read_rows(draft, self.services.checker.report(draft))
        return self._around(draft) | {
            self.editor: images_view.all_rows(self.services.drafts, draft, rows, acknowledged)
        }

    def _difference(self, before: Draft, after: Draft, acknowledged: int = 0) -> Shown:
        checker = self.services.checker
        old, new = (images_view.read_rows(draft, checker.report(draft)) for draft in (before, after))
        value = images_view.changed_rows(self.services.drafts, before, old, after, new, acknowledged)
        return self._around(after) | {self.editor: value}

    def _around(self, draft: Draft, acknowledged: int = 0) -> Shown:
        parts = images_view.around(draft, self.services.checker.report(draft), acknowledged)
        return dict(zip((self.overview, self.foot), parts, strict=True))

    def _writing(self, key: str) -> Shown:
        """Put captions written by a model into the draft and show the progress."""
        began = now_us()
        state = self.services.caption_jobs.look(key)
        progress = {"writing": images_view.writing(state), "busy": state.busy, "nonce": time.time()}
        return {self.tools: progress} | self.refresher.pause(int(state.busy), began)
