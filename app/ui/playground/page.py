"""The Playground: draws prompts with styles, side by side; generations wait in the queue, not on the page."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from app.errors import FieldErrors
from app.jobs.dispatcher import LOG
from app.jobs.permissions import Actor
from app.jobs.states import ENDED, State
from app.studio.generation.axes import MOST_VALUES
from app.studio.generation.cells import cells_of
from app.studio.generation.compatibility import GONE_STYLE, Compatibility, incompatibility, own_base
from app.studio.generation.form import (
    FIRST_STRENGTH,
    MOST_STYLES,
    FormStore,
    GenerateForm,
    begin_with,
    draw_prompts,
    first_prompt,
    is_kept,
    keep_cell,
)
from app.studio.generation.generations import GONE, Generations
from app.studio.generation.request import axis_field
from app.studio.generation.state import Generation
from app.studio.runs.chosen import chosen_step, in_closer_choice, star_in
from app.studio.services import Services
from app.studio.styles.entry import StyleEntry
from app.ui.components.controls import banner
from app.ui.components.errors import reason
from app.ui.components.events import LONGEST_ID, actor_of, wire
from app.ui.components.lightbox import light_words
from app.ui.components.live import AtRequest, block, merged_part, now_us
from app.ui.components.live_parts import NOTHING_SEEN, DeferredPart, LiveParts
from app.ui.components.log_tail import tail
from app.ui.components.shell import AT_ONCE, EACH, build_shell, scripted_part
from app.ui.document.templates import macro, render
from app.ui.playground import results_view
from app.ui.playground import text as words
from app.ui.playground.events import DRAWING, EDITING, GENERATIONS, FormEdited, FormSubmitted, GenerationAction
from app.ui.playground.form_view import FormState, read_form
from trainers.data.captions import one_line
from trainers.errors import VelaturaError

AT_FIRST, DRAWING_NOW, SOON, LATER = 0.4, 1, 2, 10
"""Seconds between two refreshes: just after a request, while drawing, while waiting, and otherwise."""
JUST = 6.0
"""Seconds for which a request counts as just made; a small base draws a picture in this time."""
LONGEST_PROMPTS = 10_000
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and connect its events."""
    build_shell(words.TITLE, services.queue)
    page = Playground(services)
    opening = demo.load(page.open, None, page.form, **AT_ONCE)
    page.live.listen(opening.then, page.refresh, [page.chosen, page.live.seen], page.drawn)
    everything = [page.form, page.chosen, *page.drawn]
    wire(page.form, EDITING, page, None, [page.form], **EACH)
    wire(page.form, DRAWING, page, None, everything, **EACH)
    for part in (page.going, page.picture):
        wire(part, GENERATIONS, page, [page.chosen], everything, **EACH)


@dataclass(frozen=True)
class Show:
    """How the fields are rendered."""

    count: int = 0
    fresh: tuple[str, ...] = ()
    problems: bool = True
    """Whether an empty prompt or empty values of an axis count as a problem."""
    said: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Problems that kept the request out of the queue, by field."""


class Playground:
    """The parts of the page and their event handlers; each request carries the versions that the page has."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.forms = FormStore(services.paths)
        block(AtRequest(macro, "heading", words.TITLE, words.LEAD))
        with gr.Row(elem_classes="two easel"):
            with gr.Column(scale=4, min_width=320):
                self.form = merged_part(
                    "components/unsent.js", "components/fields.js", "playground/form.js", elem_id="pg-form"
                )
            with gr.Column(scale=7, min_width=320):
                self.notice = block("", elem_id="pg-notice")
                self.going = merged_part("components/clicks.js", elem_id="pg-going")
                self.picture = merged_part(
                    "components/lightbox.js",
                    "playground/picture.js",
                    elem_id="pg-picture",
                    words=light_words(words.EARLIER, words.LATER) | {"keep": words.KEEP},
                )
                self.strip = merged_part(elem_id="pg-strip")
        self.chosen = scripted_part("", "playground/choice.js")
        """Id of the chosen generation; "" for the newest."""
        self.live = LiveParts({"going": self.going, "picture": self.picture, "strip": self.strip})
        self.drawn = [self.notice, *self.live.outputs]

    # ---------------------------------------------------------------- the fields
    def open(self, request: gr.Request) -> str:
        """The stored form with the style and prompts of the address, or a new form."""
        key, library = actor_of(request).key, self.services.library.entries()
        wanted = str(request.query_params.get("style", ""))[:LONGEST_ID]
        form = self.forms.read(key)
        style = next((entry for entry in library if entry.id == wanted), None)
        compared = str(request.query_params.get("compare", ""))
        compared = compared if compared in words.AXIS_NAMES and style is not None else ""
        prompts = _named_prompts(request)
        current = (
            [style_id for style_id, _ in form.styles[: 1 if compared or prompts else None]] if form is not None else []
        )
        if style is not None and style.id not in current:
            drawn = {generation.request.prompt for generation in self.services.generations.history(key)}
            form = begin_with(style, self._first_prompt(style), form, drawn | self._first_prompts(library))
            self.forms.keep(key, form)
        elif form is None:
            newest = library[0] if library else None
            form = begin_with(newest, self._first_prompt(newest))
        if compared or prompts:
            steps = self._in_closer_choice(style) if style is not None and compared == "step" else ""
            form = draw_prompts(form.with_(across=compared, across_values=steps, down="", down_values=""), prompts)
            self.forms.keep(key, form)
        notice = words.NOTICES.get(form.notice, form.notice)
        self._expect(form)
        return self._fields(form, Show(fresh=("all",), problems=False, said=notice))

    def on_form_edited(self, event: FormEdited, request: gr.Request) -> Shown:
        """Store the form and perform the action of a button."""
        form, fresh = event.form(), tuple[str, ...]()
        if event.what == "add":
            form = self._with_one_more(form)
        elif event.what == "take-out":
            kept = tuple(style for place, style in enumerate(form.styles) if place != event.place)
            form, fresh = form.with_(styles=kept), ("styles",)
        elif event.what == "restyle":
            form, fresh = self._with_its_prompt(form)
        self.forms.keep(actor_of(request).key, form)
        if event.what != "keep":
            self._expect(form)
        return {self.form: self._fields(form, Show(event.count, fresh, problems=False))}

    def on_form_submitted(self, event: FormSubmitted, request: gr.Request) -> Shown:
        """Queue a generation, or show the problem at its field."""
        actor = actor_of(request)
        key, form, count = actor.key, event.form(), event.count
        checked = self._check(form)
        try:
            self.forms.keep(key, form)
            self.services.generations.add_checked(checked, actor.name, key)
        except FieldErrors as error:
            return {self.form: self._fields(form, Show(count, refused=error.problems), checked)}
        except (OSError, VelaturaError) as error:
            return {self.form: self._fields(form, Show(count, said=reason(error)), checked)}
        shown = {self.form: self._fields(form, Show(count), checked), self.chosen: ""}
        return shown | self.refresh("", NOTHING_SEEN, request)

    # ---------------------------------------------------------------- the generations
    def refresh(self, chosen: str, seen: str, request: gr.Request) -> Shown:
        """The parts that have changed since the page's last refresh."""
        actor = actor_of(request)
        began = now_us()
        service, generations = self.services.generations, self.services.generations.history(actor.key)
        shown = results_view.chosen_one(generations, chosen)
        failure = results_view.newest_failure(generations)
        log = tail(failure.folder, LOG) if failure is not None else ""
        going = render("playground/going.html", going=results_view.read_going(generations, log, actor.name))
        drawn = [(generation.id, len(generation.pictures)) for generation in generations if generation.pictures]
        kept = self._kept(actor.key, shown) if shown is not None and shown.request.axes else frozenset()
        rough = tuple(service.rough_copy(shown, place) for place in _to_come(shown)) if shown is not None else ()
        looked_at = shown and (shown.id, len(shown.pictures), shown.ended, shown.state, rough, kept)
        values: dict[str, str | DeferredPart] = {
            "going": going,
            "picture": DeferredPart(looked_at, lambda: _picture(shown, service, kept)),
            "strip": DeferredPart((drawn, shown and shown.id), lambda: _strip(generations, shown, service)),
        }
        return self.live.answer(seen, values, began, _pace(generations))

    def on_asked(self, event: GenerationAction, request: gr.Request, chosen: str) -> Shown:
        """Perform the action of a button at a generation."""
        actor = actor_of(request)
        what, about = event.what, event.about
        key, shown = actor.key, {self.notice: ""}
        try:
            if what == "cancel-all":
                self._cancel_all(key)
            elif what == "hurry":
                self.services.generations.preempt(about, key, actor)
            elif what in ("cancel", "dismiss"):
                self.services.generations.remove(about, key)
            elif what == "keep":
                shown |= self._keep(key, about, actor)
            elif what in ("again", "use"):
                shown |= self._once_more(key, about, what == "again", actor)
        except (OSError, VelaturaError) as error:
            shown = {self.notice: banner(reason(error), kind="problem")}
        if what == "again":
            shown[self.chosen] = chosen = ""
        return shown | self.refresh(chosen, NOTHING_SEEN, request)

    # ---------------------------------------------------------------- within
    def _expect(self, form: GenerateForm) -> None:
        """Preload the base of the next drawing."""
        _expect(self.services, form)

    def _check(self, form: GenerateForm) -> Compatibility:
        return self.services.generations.check(*form.parse())

    def _fields(self, form: GenerateForm, show: Show, checked: Compatibility | None = None) -> str:
        checked = checked or self._check(form)
        library, bases = self.services.library.entries(), self.services.bases
        problems = {**checked.problems, **show.refused}
        if not show.problems:
            typed = {"prompt": form.prompt, axis_field(0): form.across_values, axis_field(1): form.down_values}
            problems = {name: why for name, why in problems.items() if typed.get(name, name).strip()}
        first = next((style for style in checked.styles if style is not None), None)
        sheet = FormState(
            form=form,
            library=library,
            bases=bases.found(),
            default_base=own_base(first, bases),
            checked=checked,
            problems=problems,
            count=show.count,
            fresh=show.fresh,
            stamp=secrets.token_hex(4),
            said=show.said,
        )
        active = () if library else (view.job.name for view in self.services.queue.runs() if view.state not in ENDED)
        going = next(iter(active), "")
        return render("playground/form.html", it=read_form(sheet), going=going)

    def _with_one_more(self, form: GenerateForm) -> GenerateForm:
        """The form with another style: the newest that fits the base and is not in it."""
        library = self.services.library.entries()
        base = self._check(form).base
        free = [style for style in library if style.id not in dict(form.styles)]
        any_fits = not (form.styles or form.options["base"])
        fitting = [style for style in free if any_fits or not incompatibility(style, base)]
        taken = (fitting or free)[:1] if len(form.styles) < MOST_STYLES else []
        return form.with_(styles=(*form.styles, *((style.id, FIRST_STRENGTH) for style in taken)))

    def _with_its_prompt(self, form: GenerateForm) -> tuple[GenerateForm, tuple[str, ...]]:
        """The form with the new first style's prompt unless the prompt was edited; with the names of changed fields."""
        library = self.services.library.entries()
        if form.prompt not in self._first_prompts(library):
            return form, ()
        first = next((style for style in library if style.id == form.styles[0][0]), None) if form.styles else None
        return form.with_(prompt=self._first_prompt(first)), ("prompt",)

    def _first_prompts(self, library: list[StyleEntry]) -> set[str]:
        """All prompts that the page fills in itself."""
        return {self._first_prompt(style) for style in (*library, None)}

    def _first_prompt(self, style: StyleEntry | None) -> str:
        """The first prompt for a style: the first its run drew, else an example with its trigger word."""
        example = [words.PROMPT_EXAMPLE, *(style.words[:1] if style is not None else ())]
        return first_prompt(style, self.services.queue) or ", ".join(example)

    def _find(self, key: str, id: str) -> Generation:
        """A generation of `key`; VelaturaError if it was removed."""
        generation = next((item for item in self.services.generations.history(key) if item.id == id), None)
        if generation is None:
            raise VelaturaError(GONE)
        return generation

    def _once_more(self, key: str, id: str, draw: bool, actor: Actor) -> Shown:
        """Queue a generation again, or copy its settings into the form."""
        generation = self._find(key, id)
        if draw:
            self.services.generations.add(generation.request, actor.name, key)
            if not generation.pictures:
                self.services.generations.remove(id, key)
            return {}
        form = GenerateForm.of(generation.request)
        self.forms.keep(key, form)
        return {self.form: self._fields(form, Show(fresh=("all",)))}

    def _keep(self, key: str, about: str, actor: Actor) -> Shown:
        """Copy the settings of a compared picture into the form; the step of a run becomes its starred step."""
        id, _, place = about.rpartition(":")
        generation = self._find(key, id)
        cells = cells_of(generation.record.resolved) if generation.request.axes else ()
        if not place.isdecimal() or int(place) >= len(cells):
            raise VelaturaError(GONE)
        cell = cells[int(place)]
        for _kind, step in (pair for pair in cell.values if pair[0] == "step"):
            self._star(generation.request.styles[0].style, int(step), actor)
        form = keep_cell(self.forms.read(key) or GenerateForm(), generation.request, cell)
        self.forms.keep(key, form)
        return {self.form: self._fields(form, Show(fresh=("all",)))}

    def _in_closer_choice(self, style: StyleEntry) -> str:
        """The starred step and the candidates of a style's run, as typed; "" without candidates."""
        view = self.services.queue.run(style.run) if style.run else None
        return ", ".join(map(str, in_closer_choice(view))) if view is not None else ""

    def _star(self, style: str, step: int, actor: Actor) -> None:
        """Star a step of a style's run."""
        entry = self.services.library.entry(style)
        if entry is None or not entry.run:
            raise VelaturaError(GONE_STYLE)
        view = self.services.queue.find(entry.run)
        actor.check(view.job.name, view.job.owner)
        star_in(view, step)

    def _kept(self, key: str, generation: Generation) -> frozenset[int]:
        """Indices of the compared pictures whose settings are in the form."""
        form, cells = self.forms.read(key) or GenerateForm(), cells_of(generation.record.resolved)
        steps = {step for cell in cells for kind, step in cell.values if kind == "step"}
        current_step = self._current_step(generation) if steps else None
        return frozenset(
            place
            for place, cell in enumerate(cells)
            if is_kept(form, generation.request, cell) and dict(cell.values).get("step", current_step) == current_step
        )

    def _current_step(self, generation: Generation) -> int | None:
        """The step of the run that the first style's file has."""
        entry = self.services.library.entry(generation.request.styles[0].style)
        view = self.services.queue.run(entry.run) if entry is not None and entry.run else None
        return chosen_step(view) if view is not None else None

    def _cancel_all(self, key: str) -> None:
        for generation in self.services.generations.history(key):
            if not generation.ended:
                self.services.generations.remove(generation.id, key)


def expect_page(services: Services, sender: str) -> None:
    """Preload the base that the sender of a page request will probably draw on."""
    form = FormStore(services.paths).read(sender) if sender else None
    _expect(services, form or begin_with(next(iter(services.library.entries()), None), words.PROMPT_EXAMPLE))


def _expect(services: Services, form: GenerateForm) -> None:
    services.generations.expect(form.with_(prompt=form.prompt or words.PROMPT_EXAMPLE).parse()[0])


def _named_prompts(request: gr.Request) -> list[str]:
    """The prompts in the address, one per line; as many as a comparison takes."""
    lines = map(one_line, str(request.query_params.get("prompts", ""))[:LONGEST_PROMPTS].splitlines())
    return list(dict.fromkeys(filter(None, lines)))[:MOST_VALUES]


def _pace(generations: Sequence[Generation]) -> float:
    """Seconds until the next refresh."""
    active = [generation for generation in generations if not generation.ended]
    is_drawn = any(generation.state != State.QUEUED or generation.progress.behind is None for generation in active)
    if is_drawn:
        return AT_FIRST if any(time.time() - generation.record.made < JUST for generation in active) else DRAWING_NOW
    return SOON if active else LATER


def _to_come(generation: Generation) -> list[int]:
    """Indices of the pictures that are not drawn yet."""
    places = () if generation.ended else range(len(generation.file_names))
    return [place for place in places if place not in generation.pictures]


def _picture(generation: Generation | None, service: Generations, kept: Collection[int]) -> str:
    return render("playground/picture.html", it=results_view.read_picture(generation, service, kept))


def _strip(generations: Sequence[Generation], generation: Generation | None, service: Generations) -> str:
    thumbnails = results_view.read_strip(generations, generation.id if generation is not None else "", service)
    return render("playground/strip.html", thumbnails=thumbnails)
