"""The studio's API: named endpoints that do not change with the pages.

Each returns plain values and reports errors as one sentence with a code in brackets: `There is no run fox. [no_run]`.
"""
# Gradio reads the types of the endpoints from their signatures, which therefore must not be postponed.

import secrets
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import gradio as gr

from app.jobs import actions
from app.jobs.accounts.audit import AuditLog, check_owner
from app.jobs.permissions import Actor
from app.jobs.states import ENDED
from app.jobs.trash.trash import Trash, TrashItem
from app.jobs.view import View
from app.studio.accounts.people import key_of_program, login_of_key
from app.studio.dataset import edits
from app.studio.dataset.draft_owners import of_programs, program_name, size_of
from app.studio.dataset.drafts import Draft
from app.studio.dataset.uploads import sender_folder, take_in
from app.studio.runs import samples
from app.studio.runs.disk_use import disk_use
from app.studio.runs.notes import read_notes
from app.studio.runs.start import start_run, with_orders
from app.studio.services import Services
from app.studio.styles.entry import StyleEntry
from app.studio.styles.library import FORMATS
from app.ui.api_schemas import (
    Answer,
    RefusalError,
    file_of,
    in_plain,
    kindly,
    listing_options,
    must,
    request_of,
    table_of,
    text_of,
    texts_of,
    uploads_of,
    whole_of,
)
from app.ui.components.events import actor_of
from app.ui.components.runs.samples import address
from app.ui.login.sender import sender_of
from trainers.config.presets import list_presets
from trainers.config.techniques import list_techniques
from trainers.messages import Message, either, joined

A_PAGE = 50
DRAFT_LETTERS, NAME_LETTERS, PATH_LETTERS = 64, 200, 4096


def build(services: Services) -> None:
    """Register the endpoints; those that read files or wait for the device use Gradio's queue."""
    api = Api(services)
    for endpoint in (api.upload, api.start, api.download, api.generate):
        gr.api(endpoint, concurrency_limit=8)
    for endpoint in (
        api.captions, api.remove, api.drafts, api.status, api.stop, api.resume, api.delete, api.trash, api.restore,
        api.empty, api.styles, api.methods, api.presets, api.bases,
    ):  # fmt: skip
        gr.api(endpoint, queue=False)


class Api:
    """The endpoints. All input is untrusted, including its types."""

    def __init__(self, services: Services) -> None:
        self.services = services

    @kindly
    def upload(
        self,
        files: list[gr.FileData],
        draft: str = "",
        request: gr.Request | None = None,
    ) -> Answer:
        """Add pictures, captions (`.txt`) or ZIPs to a draft, or to a new one if none is given."""
        draft = text_of(draft, "draft", DRAFT_LETTERS) or secrets.token_urlsafe(24)
        key = self._key(draft, request)
        before = len(self.services.drafts.read(key).pictures)
        sender = sender_of(request.username, request.cookies) if request is not None else ""
        folder = sender_folder(self.services.uploads, sender)
        kept = take_in(self.services.drafts, key, uploads_of(files), folder)
        if len(kept.pictures) == before and not before:
            reasons = joined(" ", (joined(": ", (file.name, file.reason)) for file in kept.left_out))
            reasons = reasons or Message("No file arrived.")
            raise RefusalError("no_images", "None of these files is a readable picture. {reasons}", reasons=reasons)
        report = self.services.checker.report(kept)
        images = [
            {
                "id": file.id,
                "name": file.name,
                "caption": file.caption,
                "findings": [note.words for note in report.notes.get(file.id, ())],
            }
            for file in kept.pictures
        ]
        left_out = [{"name": file.name, "reason": file.reason} for file in kept.left_out]
        return {"draft": draft, "images": images, "left_out": left_out}

    @kindly
    def captions(
        self,
        draft: str,
        captions: dict[str, str],
        trigger: str = "",
        request: gr.Request | None = None,
    ) -> Answer:
        """Set captions, by picture id, and the trigger word in front of each."""
        current = self._known(draft, request)
        wanted = {id: text_of(text, f"the caption of {id}") for id, text in table_of(captions, "captions").items()}
        trigger = text_of(trigger, "trigger", edits.MOST_TRIGGER)
        _check_there(current, wanted)
        changed = 0

        def change(now: Draft) -> Draft:
            nonlocal changed
            new = edits.with_captions(edits.with_trigger(now, trigger) if trigger else now, wanted)
            changed = sum(id.caption != two.caption for id, two in zip(now.pictures, new.pictures, strict=True))
            return new

        self.services.drafts.change(self._key(draft, request), change)
        return {"changed": changed}

    @kindly
    def remove(
        self,
        draft: str,
        images: list[str] = [],  # noqa: B006
        request: gr.Request | None = None,
    ) -> Answer:
        """Move a draft's pictures to the trash, by id, or all of them if none are given."""
        current = self._known(draft, request)
        wanted = texts_of(images, "images", NAME_LETTERS) or [picture.id for picture in current.pictures]
        _check_there(current, wanted)
        self.services.drafts.change(self._key(draft, request), lambda now: edits.settled(edits.without(now, wanted)))
        return {"removed": len(set(wanted))}

    @kindly
    def drafts(self, request: gr.Request | None = None) -> Answer:
        """Your login's API drafts that have pictures, newest first, and their total bytes."""
        login = caller(request).name
        drafts = of_programs(self.services.drafts, login) if login else []
        listed = [
            {
                "draft": program_name(draft, login),
                "images": len(draft.pictures),
                "bytes": size_of(self.services.drafts, draft),
                "changed": draft.changed,
            }
            for draft in drafts
            if draft.pictures
        ]
        return {"drafts": listed, "bytes": sum(draft["bytes"] for draft in listed)}

    @kindly
    def start(
        self,
        draft: str,
        name: str,
        preset: str = "balanced",
        base: str = "starter",
        settings: dict[str, Any] = {},  # noqa: B006 (Gradio shows it as the default; it is never changed)
        request: gr.Request | None = None,
    ) -> Answer:
        """Queue a run of a draft. `settings` are config tables or dotted keys such as `train.steps`."""
        current = self._known(draft, request)
        name = text_of(name, "name", NAME_LETTERS)
        choice = text_of(preset, "preset", NAME_LETTERS), text_of(base, "base", PATH_LETTERS)
        find_own = partial(self.services.presets.find, caller(request).name)
        chosen, table = must("bad_setting", with_orders, current, *choice, table_of(settings, "settings"), find_own)
        self._check_base(chosen)
        chosen = chosen.with_(name=name)
        queue = self.services.queue
        job = must("bad_setting", start_run, queue, self.services.drafts, chosen, caller(request), table)
        return self._state(job.name)

    @kindly
    def status(self, run: str) -> Answer:
        """A run's state, its known figures, and URLs of its newest samples."""
        view = self._view(run)
        summary = view.summary
        columns = samples.find_samples(view.job.folder)
        public = self.services.queue.public(view)
        style, notes = self.services.library.of_run(run), read_notes(view.job.folder)
        return _state(run, view) | {
            "step": summary.step,
            "steps": summary.steps,
            "seconds_left": summary.seconds_left,
            "speed": summary.speed,
            "loss": summary.loss,
            "memory": summary.memory,
            "samples": [address(sample, public, False) for sample in columns[-1]] if columns else [],
            "style": style.id if style is not None else "",
            "message": view.line,
            "note": notes.note,
            "tags": list(notes.tags),
            "bytes": disk_use(view.job.folder),
        }

    @kindly
    def stop(
        self,
        run: str,
        how: Literal["save", "pause", "cancel"] = "save",
        request: gr.Request | None = None,
    ) -> Answer:
        """End a run: save its style file, pause it, or cancel it."""
        if how not in ("save", "pause", "cancel"):
            raise RefusalError("bad_value", "how must be save, pause or cancel, not {how!r:.80}.", how=how)
        view, actor = self._own(run, request, "stop")
        queue = self.services.queue
        code = "ended" if view.state in ENDED else "refused"
        must(code, partial(actions.stop, actor=actor), queue.store, queue.number(run, actor=actor), how)
        return self._state(run)

    @kindly
    def resume(self, run: str, request: gr.Request | None = None) -> Answer:
        """Queue a run again to continue from its newest checkpoint."""
        view, actor = self._own(run, request, "resume")
        queue = self.services.queue
        code = "refused" if "resume" in view.actions else "nothing"
        must(code, partial(actions.resume, actor=actor), queue.store, queue.number(run, actor=actor))
        return self._state(run)

    @kindly
    def delete(self, run: str, request: gr.Request | None = None) -> Answer:
        """Move an ended run with its style to the trash; returns the item's id."""
        view, actor = self._own(run, request, "delete")
        queue = self.services.queue
        code = "refused" if "delete" in view.actions else "busy"
        item = must(code, partial(queue.delete, actor=actor), queue.number(run, actor=actor))
        return {"item": item.id if item is not None else ""}

    @kindly
    def trash(self, request: gr.Request | None = None) -> Answer:
        """Your items in the trash, newest first, and their total bytes; an admin's are everybody's."""
        items = Trash(self.services.queue.store).items(caller(request))
        return {"items": [item.plain() for item in items], "bytes": sum(item.size for item in items)}

    @kindly
    def restore(self, item: str, request: gr.Request | None = None) -> Answer:
        """Restore an item from the trash, under another name if its own was taken."""
        thrown, actor = self._thrown(item, request), caller(request)
        name = actions.restore(self.services.queue.store, thrown.id, actor=actor)
        return {"kind": thrown.kind, "name": name}

    @kindly
    def empty(self, item: str = "", request: gr.Request | None = None) -> Answer:
        """Permanently delete an item in the trash, or all of yours if none is given."""
        trash, actor = Trash(self.services.queue.store), caller(request)
        items = [self._thrown(item, request)] if item != "" else trash.own(actor)
        AuditLog(trash.runs).note("empty", actor, items[0].name if item != "" else "")
        return {"deleted": len(items), "bytes": trash.remove(items)}

    @kindly
    def styles(self, search: str = "", page: int = 1) -> Answer:
        """The styles, newest first, fifty per page."""
        needle = text_of(search, "search", NAME_LETTERS).casefold()
        entries = [item for item in self.services.library.entries() if needle in _words_of(item)]
        pages = max(1, -(-len(entries) // A_PAGE))
        first = (min(max(1, whole_of(page, "page")), pages) - 1) * A_PAGE
        return {"styles": [in_plain(item) for item in entries[first : first + A_PAGE]], "pages": pages}

    @kindly
    def download(
        self, style: str, format: Literal["safetensors", "diffusers", "peft", "embedding", "toml"] = "safetensors"
    ) -> gr.FileData:
        """A style's file, the one for diffusers or PEFT, its word's file, or its settings."""
        if format not in FORMATS:
            raise RefusalError(
                "bad_value",
                "format must be {formats}, not {format!r:.80}.",
                formats=either(FORMATS),
                format=format,
            )
        item = self._item(style)
        return file_of(must("format", self.services.library.download, item, format))

    @kindly
    @listing_options
    def generate(
        self,
        prompt: str,
        styles: dict[str, float] = {},  # noqa: B006
        options: dict[str, Any] = {},  # noqa: B006
        request: gr.Request | None = None,
    ) -> list[gr.FileData]:
        """Generate a prompt with styles and their strengths, by id, and once more without them; waits in the queue.

        `options` by name: {options}. Those of the Playground, and `strengths` (a picture for each, of the first style;
        with two styles, for each pair), `axes` (values by what is compared: along a row, and from row to row) and
        `sheet` (all of them on one labelled picture, last).
        """
        from app.studio.generation.generations import wait_for

        for style in table_of(styles, "styles"):
            self._item(str(style))
        generate_request = must(
            "bad_value", request_of, text_of(prompt, "prompt"), styles, table_of(options, "options")
        )
        sheet = options.get("sheet") is True
        pictures = wait_for(self.services.generations, generate_request, caller(request).name, sheet)
        return [file_of(path) for path in pictures]

    @kindly
    def methods(self) -> list[Answer]:
        """The methods: what each is good for, its paper, and the setting that turns it on."""
        return [asdict(technique) for technique in list_techniques()]

    @kindly
    def presets(self, request: gr.Request | None = None) -> list[Answer]:
        """The bundled presets with their purposes, then your own."""
        presets = self.services.presets.list(caller(request).name)
        bundled = [{"name": preset.name, "summary": preset.summary} for preset in list_presets()]
        return bundled + [{"name": one.name, "summary": one.problem or "One of your own."} for one in presets]

    @kindly
    def bases(self) -> list[Answer]:
        """The base models on this computer."""
        return [
            {"model": base.model, "title": base.title, "family": base.family, "bytes": base.size}
            for base in self.services.bases.found()
        ]

    # ---------------------------------------------------------------- within
    def _key(self, draft: str, request: gr.Request | None) -> str:
        """The storage key of an API draft, within its login on a shared studio.

        A draft made before there were accounts goes to the first login that names it.
        """
        if not isinstance(draft, str) or not draft or len(draft) > DRAFT_LETTERS:
            raise RefusalError("no_draft", "draft must be a draft that /upload returned.")
        owner, key = caller(request).name, key_of_program(draft)
        if owner and ":" in draft:  # the key of another login
            raise RefusalError("no_draft", "There is no such draft: a draft's id has no colon.")
        program_key = key_of_program(draft, owner)
        if owner and (known := self.services.drafts.read(key)).revision and login_of_key(known.key) in ("", owner):
            self.services.drafts.change(key, lambda now: now if now.key else now.with_(key=program_key))
            program_key = key
        return program_key

    def _check_base(self, draft: Draft) -> None:
        base = self.services.bases.look(draft.choices.base)
        if base.problem:
            title, problem = base.title, base.problem
            raise RefusalError(
                "no_base", "The base model {base} cannot be used. {problem}", base=title, problem=problem
            )

    def _known(self, draft: str, request: gr.Request | None) -> Draft:
        known = self.services.drafts.look(self._key(draft, request))
        if not known.pictures:
            raise RefusalError("no_draft", "There is no such draft, or it has no pictures; /upload creates one.")
        return known

    def _own(self, run: str, request: gr.Request | None, what: str) -> tuple[View, Actor]:
        """A run and the actor; NotOwnerError if the actor may not change it."""
        view, actor = self._view(run), caller(request)
        check_owner(self.services.paths.runs, what, actor, view.job.kind, run, view.job.owner)
        return view, actor

    def _view(self, run: str) -> View:
        if not isinstance(run, str):
            raise RefusalError("no_run", "There is no run {run!r:.80}.", run=run)
        found: View = must("no_run", self.services.queue.find, run)
        return found

    def _state(self, run: str) -> Answer:
        return _state(run, self._view(run))

    def _thrown(self, item: str, request: gr.Request | None) -> TrashItem:
        trash = Trash(self.services.queue.store)
        return must("no_item", trash.item, text_of(item, "item", NAME_LETTERS), caller(request))

    def _item(self, style: str) -> StyleEntry:
        item = self.services.library.entry(style) if isinstance(style, str) else None
        if item is None:
            raise RefusalError("no_style", "There is no style {style!s:.80}; /styles lists them by id.", style=style)
        return item


def _check_there(draft: Draft, identifiers: Iterable[str]) -> None:
    missing = sorted(set(identifiers) - {picture.id for picture in draft.pictures})
    if missing:
        raise RefusalError("no_image", "There is no picture {picture} in this draft.", picture=missing[0])


def _words_of(item: StyleEntry) -> str:
    return f"{item.name} {item.words} {item.about.line}".casefold()


def _state(run: str, view: View) -> Answer:
    return {"run": run, "state": view.state.value, "place": view.place, "ended": view.state in ENDED}


def caller(request: gr.Request | None) -> Actor:
    """The actor of an API call; the machine's owner for one without a request."""
    return actor_of(request) if request is not None else Actor()
