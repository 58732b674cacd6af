"""The studio for programs: a few endpoints by name, whatever the pages look like.

Each answers with plain values and refuses with one sentence and a code in brackets: `There is no run fox. [no_run]`.
"""
# Gradio reads the types of the endpoints from their signatures, which therefore must not be postponed.

import secrets
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from app.jobs import actions
from app.jobs.states import ENDED
from app.jobs.views import View
from app.ui import edits, run_samples
from app.ui.bases import in_words
from app.ui.drafts import Draft
from app.ui.html import file_address
from app.ui.parts import Studio
from app.ui.shelf import Item
from app.ui.starting import start_run, with_orders
from app.ui.uploads import MOST_PICTURES, Upload, take_in
from trainers.adapters import METHODS
from trainers.errors import VelaturaError
from trainers.presets import list_presets

A_PAGE = 50
DRAFT_LETTERS = 64
Answer = dict[str, Any]


def build(studio: Studio) -> None:
    """Offer the endpoints; those that read files or wait for the device go through Gradio's queue."""
    api = Api(studio)
    for endpoint in (api.upload, api.start, api.download, api.generate):
        gr.api(endpoint, concurrency_limit=8)
    for endpoint in (
        api.captions, api.status, api.stop, api.resume, api.styles, api.methods, api.presets, api.bases,
    ):  # fmt: skip
        gr.api(endpoint, queue=False)


def kindly(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Let a program see why it was refused; what nobody has foreseen stays hidden."""

    @wraps(endpoint)
    def answering(*given: Any, **named: Any) -> Any:
        try:
            return endpoint(*given, **named)
        except RefusalError as refusal:
            raise gr.Error(f"{refusal} [{refusal.code}]", print_exception=False) from refusal
        except VelaturaError as error:
            raise gr.Error(f"{in_words(error)} [refused]", print_exception=False) from error

    return answering


class RefusalError(VelaturaError):
    """A sentence for a person and a code for a program."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Api:
    """What programs can do. Everything that comes in is untrusted, its types included."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    @kindly
    def upload(self, files: list[gr.FileData], draft: str = "") -> Answer:
        """Add pictures, captions (`.txt`) or ZIPs to a draft, a new one where none is named."""
        draft = draft or secrets.token_urlsafe(24)
        before = len(self._read(draft).pictures)
        kept = take_in(self.studio.drafts, _key(draft), _uploads(files), self.studio.uploads)
        if len(kept.pictures) == before and not before:
            reasons = " ".join(f"{one.name}: {one.reason}" for one in kept.left_out) or "No file arrived."
            raise RefusalError("no_images", f"None of this is a picture that can be read. {reasons}")
        report = self.studio.checker.report(kept)
        images = [
            {
                "id": one.id,
                "name": one.name,
                "caption": one.caption,
                "findings": [note.words for note in report.notes.get(one.id, ())],
            }
            for one in kept.pictures
        ]
        left_out = [{"name": one.name, "reason": one.reason} for one in kept.left_out]
        return {"draft": draft, "images": images, "left_out": left_out}

    @kindly
    def captions(self, draft: str, captions: dict[str, str], trigger: str = "") -> Answer:
        """Write captions, by the pictures' ids, and the trigger word that stands before each of them."""
        before = self._known(draft)
        wanted = {str(identifier): str(text) for identifier, text in _table(captions, "captions").items()}
        missing = sorted(set(wanted) - {one.id for one in before.pictures})
        if missing:
            raise RefusalError("no_image", f"There is no picture {missing[0]} in this draft.")

        def change(now: Draft) -> Draft:
            return edits.with_captions(edits.with_trigger(now, trigger) if trigger else now, wanted, "{} changed.")

        after = self.studio.drafts.change(_key(draft), change)
        changed = sum(one.caption != two.caption for one, two in zip(before.pictures, after.pictures, strict=True))
        return {"changed": changed}

    @kindly
    def start(
        self,
        draft: str,
        name: str,
        preset: str = "balanced",
        base: str = "starter",
        settings: dict[str, Any] = {},  # noqa: B006 (Gradio shows it as the default; it is never changed)
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> Answer:
        """Train a draft: a run in line. `settings` are a config's tables or dotted keys such as `train.steps`."""
        known = self._known(draft)
        chosen, table = _must("bad_setting", with_orders, known, preset, base, _table(settings, "settings"))
        found = self.studio.bases.look(chosen.choices.base)
        if found.problem:
            raise RefusalError("no_base", f"The base model {found.title} cannot be used. {found.problem}")
        chosen = chosen.with_(name=str(name)[:200])
        job = _must("bad_setting", start_run, self.studio, chosen, _owner(request), table)
        return self._state(job.name)

    @kindly
    def status(self, run: str) -> Answer:
        """How a run stands: its state, its numbers as far as they are known, and its newest samples' addresses."""
        view = self._view(run)
        said = view.said
        columns = run_samples.find_samples(view.job.folder)
        public = self.studio.queue.public(view)
        return self._state(run) | {
            "step": said.step,
            "steps": said.steps,
            "seconds_left": said.seconds_left,
            "speed": said.speed,
            "loss": said.loss,
            "memory": said.memory,
            "samples": [run_samples.address(sample, public, False) for sample in columns[-1]] if columns else [],
            "style": next((item.id for item in self.studio.shelf.items() if item.run == run), ""),
            "message": view.line,
        }

    @kindly
    def stop(self, run: str, how: Literal["save", "pause", "cancel"] = "save") -> Answer:
        """End a run: its style file written, kept to go on later, or as it is."""
        if how not in ("save", "pause", "cancel"):
            raise RefusalError("bad_value", f"how is save, pause or cancel, not {how!r}.")
        view = self._view(run)
        if view.state in ENDED:
            raise RefusalError("ended", f"{run} has ended already.")
        actions.stop(self.studio.queue.store, view.job.id, how)
        return self._state(run)

    @kindly
    def resume(self, run: str) -> Answer:
        """Put a run in line again, to go on from what it has saved."""
        view = self._view(run)
        if "resume" not in view.actions:
            raise RefusalError("nothing", f"There is nothing to go on with in {run}.")
        actions.resume(self.studio.queue.store, self.studio.queue.number(run))
        return self._state(run)

    @kindly
    def styles(self, search: str = "", page: int = 1) -> Answer:
        """The styles there are, newest first, fifty a page."""
        needle = str(search).casefold()
        found = [item for item in self.studio.shelf.items() if needle in f"{item.name} {item.words}".casefold()]
        pages = max(1, -(-len(found) // A_PAGE))
        first = (min(max(1, _whole(page, "page")), pages) - 1) * A_PAGE
        return {"styles": [_style(item) for item in found[first : first + A_PAGE]], "pages": pages}

    @kindly
    def download(self, style: str, format: Literal["safetensors", "diffusers", "toml"] = "safetensors") -> gr.FileData:
        """A style's file for ComfyUI, A1111, Forge and InvokeAI, for diffusers, or its settings."""
        if format not in ("safetensors", "diffusers", "toml"):
            raise RefusalError("bad_value", f"format is safetensors, diffusers or toml, not {format!r}.")
        item = self._item(style)
        return _file(_must("format", self.studio.shelf.download, item, format))

    @kindly
    def generate(
        self,
        prompt: str,
        styles: dict[str, float] = {},  # noqa: B006
        options: dict[str, Any] = {},  # noqa: B006
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> list[gr.FileData]:
        """Draw a prompt with styles at their strengths, by id, and once more without them; waits for its turn.

        `options` are those of the Playground: negative, seed, steps, guidance, size, sampler, base, compare.
        """
        from app.ui.drawings import wait_for, wish_from

        for style in _table(styles, "styles"):
            self._item(str(style))
        wish = _must("bad_value", wish_from, str(prompt), styles, _table(options, "options"))
        pictures = wait_for(self.studio.drawings, wish, _owner(request))
        return [_file(path) for path in pictures]

    @kindly
    def methods(self) -> list[Answer]:
        """The methods there are: what each is good at, and where it comes from."""
        return [{"name": name, "summary": one.summary, "paper": one.paper} for name, one in METHODS.items()]

    @kindly
    def presets(self) -> list[Answer]:
        """The presets there are, and what each is good at."""
        return [{"name": preset.name, "summary": preset.summary} for preset in list_presets()]

    @kindly
    def bases(self) -> list[Answer]:
        """The base models on this computer."""
        return [
            {"model": base.model, "title": base.title, "family": base.family, "bytes": base.size}
            for base in self.studio.bases.found()
        ]

    # ---------------------------------------------------------------- within
    def _read(self, draft: str) -> Draft:
        if not isinstance(draft, str) or not draft or len(draft) > DRAFT_LETTERS:
            raise RefusalError("no_draft", "A draft is what /upload has answered.")
        return self.studio.drafts.read(_key(draft))

    def _known(self, draft: str) -> Draft:
        known = self._read(draft)
        if not known.pictures:
            raise RefusalError("no_draft", "There is no such draft, or it has no pictures: /upload makes one.")
        return known

    def _view(self, run: str) -> View:
        view = self.studio.queue.run(run) if isinstance(run, str) else None
        if view is None:
            raise RefusalError("no_run", f"There is no run {run}.")
        return view

    def _state(self, run: str) -> Answer:
        view = self._view(run)
        return {"run": run, "state": view.state.value, "place": view.place, "ended": view.state in ENDED}

    def _item(self, style: str) -> Item:
        item = self.studio.shelf.item(style) if isinstance(style, str) else None
        if item is None:
            raise RefusalError("no_style", f"There is no style {style}: /styles lists them by id.")
        return item


def _must(code: str, do: Callable[..., Any], *given: Any) -> Any:
    """What `do` returns; its refusal gets a code."""
    try:
        return do(*given)
    except RefusalError:
        raise
    except VelaturaError as error:
        raise RefusalError(code, in_words(error)) from error


def _key(draft: str) -> str:
    return f"program:{draft}"


def _owner(request: gr.Request | None) -> str:
    return (request.username or "") if request is not None else ""


def _uploads(files: Any) -> list[Upload]:
    """What has been uploaded; anything else is no upload."""
    found = []
    for file in files if isinstance(files, list) else [files]:
        path = file.get("path") if isinstance(file, dict) else getattr(file, "path", None)
        name = file.get("orig_name") if isinstance(file, dict) else getattr(file, "orig_name", None)
        if not isinstance(path, str):
            raise RefusalError("bad_path", "files are uploads: handle_file(path) makes one.")
        found.append(Upload(Path(path), str(name or Path(path).name)))
    if len(found) > MOST_PICTURES:
        raise RefusalError("too_many", f"At most {MOST_PICTURES} files at once; these are {len(found)}.")
    return found


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise RefusalError("bad_value", f"{name} is a table, not {value!r:.80}.")
    return dict(value)


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int | float) or value != int(value):
        raise RefusalError("bad_value", f"{name} is a whole number, not {value!r:.80}.")
    return int(value)


def _style(item: Item) -> Answer:
    return {
        "id": item.id,
        "name": item.name,
        "words": list(item.words),
        "method": item.method,
        "base": item.base,
        "family": item.family,
        "bytes": item.size,
        "made": item.made,
        "run": item.run,
    }


def _file(path: Path) -> gr.FileData:
    return gr.FileData(path=str(path.resolve()), orig_name=path.name, url=file_address(path))
