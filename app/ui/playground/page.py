"""The Playground: words and styles in, pictures side by side out; what is drawn waits in the queue, not on the page."""

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
from app.studio.generation.state import Generation
from app.studio.runs.chosen import final_step, star, starred_step
from app.studio.services import Services
from app.studio.styles.entry import StyleEntry
from app.ui.components.controls import banner
from app.ui.components.errors import reason
from app.ui.components.events import LONGEST_ID, actor_of, key_of, wire
from app.ui.components.lightbox import light_words
from app.ui.components.live import AtRequest, block, merged_part, now_us
from app.ui.components.live_parts import NOTHING_SEEN, DeferredPart, LiveParts
from app.ui.components.shell import AT_ONCE, EACH, build_shell, scripted_part
from app.ui.document.templates import macro, render
from app.ui.playground import results_view
from app.ui.playground import text as words
from app.ui.playground.events import DRAWING, EDITING, GENERATIONS, FormEdited, FormSubmitted, GenerationAction
from app.ui.playground.form_view import Sheet, read_form
from app.ui.runs.run import tail
from app.ui.styles import text as styles_words
from trainers.data.captions import one_line
from trainers.errors import VelaturaError

AT_FIRST, DRAWING_NOW, SOON, LATER = 0.4, 1, 2, 10
"""Seconds between two looks at least: while something is drawn that was just asked for, is drawn, waits, and else."""
JUST = 6.0
"""Seconds for which something was just asked for; on a small base it is there by then."""
LONGEST_PROMPTS = 10_000
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and wire it."""
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
    """How the fields are to be shown."""

    count: int = 0
    fresh: tuple[str, ...] = ()
    problems: bool = True
    """Whether an empty prompt is one yet."""
    said: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Fields for which it was not put in line, with a sentence each."""


class Playground:
    """The parts of the page and what happens in them. What a page has seen comes back with each request."""

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
        """Which generation is looked at; the newest where that is empty."""
        self.live = LiveParts({"going": self.going, "picture": self.picture, "strip": self.strip})
        self.drawn = [self.notice, *self.live.outputs]

    # ---------------------------------------------------------------- the fields
    def open(self, request: gr.Request) -> str:
        """The fields as they were left, with the style and prompts that the address names, or ready to try one."""
        key, library = key_of(request), self.services.library.entries()
        wanted = str(request.query_params.get("style", ""))[:LONGEST_ID]
        form = self.forms.read(key)
        style = next((one for one in library if one.id == wanted), None)
        compared = str(request.query_params.get("compare", ""))
        compared = compared if compared in words.AXIS_NAMES and style is not None else ""
        prompts = _named_prompts(request)
        there = [one for one, _ in form.styles[: 1 if compared or prompts else None]] if form is not None else []
        if style is not None and style.id not in there:
            drawn = {one.request.prompt for one in self.services.generations.history(key)}
            form = begin_with(style, self._first_prompt(style), form, drawn | self._first_prompts(library))
            self.forms.keep(key, form)
        elif form is None:
            newest = library[0] if library else None
            form = begin_with(newest, self._first_prompt(newest))
        if compared or prompts:
            form = draw_prompts(form.with_(across=compared, across_values="", down="", down_values=""), prompts)
            self.forms.keep(key, form)
        notice = words.NOTICES.get(form.notice, form.notice)
        self._expect(form)
        return self._fields(form, Show(fresh=("all",), problems=False, said=notice))

    def on_form_edited(self, event: FormEdited, request: gr.Request) -> Shown:
        """Keep what is typed, and do what a button of the fields wants."""
        form, fresh = event.form(), tuple[str, ...]()
        if event.what == "add":
            form = self._with_one_more(form)
        elif event.what == "take-out":
            kept = tuple(style for place, style in enumerate(form.styles) if place != event.place)
            form, fresh = form.with_(styles=kept), ("styles",)
        elif event.what == "restyle":
            form, fresh = self._with_its_prompt(form)
        self.forms.keep(key_of(request), form)
        if event.what != "keep":
            self._expect(form)
        return {self.form: self._fields(form, Show(event.count, fresh, problems=False))}

    def on_form_submitted(self, event: FormSubmitted, request: gr.Request) -> Shown:
        """Put what stands in the fields in line; where it cannot be drawn, say so under the field."""
        key, form, count = key_of(request), event.form(), event.count
        found = self._check(form)
        try:
            self.forms.keep(key, form)
            self.services.generations.add_checked(found, request.username or "", key)
        except FieldErrors as error:
            return {self.form: self._fields(form, Show(count, refused=error.problems), found)}
        except (OSError, VelaturaError) as error:
            return {self.form: self._fields(form, Show(count, said=reason(error)), found)}
        shown = {self.form: self._fields(form, Show(count), found), self.chosen: ""}
        return shown | self.refresh("", NOTHING_SEEN, request)

    # ---------------------------------------------------------------- the generations
    def refresh(self, chosen: str, seen: str, request: gr.Request) -> Shown:
        """What has changed since the page's last look."""
        began = now_us()
        service, found = self.services.generations, self.services.generations.history(key_of(request))
        one = results_view.chosen_one(found, chosen)
        failure = results_view.newest_failure(found)
        log = tail(failure.folder, LOG) if failure is not None else ""
        going = render("playground/going.html", going=results_view.read_going(found, log, request.username or ""))
        drawn = [(each.id, len(each.pictures)) for each in found if each.pictures]
        kept = self._kept(key_of(request), one) if one is not None and one.request.axes else frozenset()
        rough = tuple(service.rough_copy(one, place) for place in _to_come(one)) if one is not None else ()
        looked_at = one and (one.id, len(one.pictures), one.ended, one.state, rough, kept)
        values: dict[str, str | DeferredPart] = {
            "going": going,
            "picture": DeferredPart(looked_at, lambda: _picture(one, service, kept)),
            "strip": DeferredPart((drawn, one and one.id), lambda: _strip(found, one, service)),
        }
        return self.live.answer(seen, values, began, _pace(found))

    def on_asked(self, event: GenerationAction, request: gr.Request, chosen: str) -> Shown:
        """Do what a button at a generation wants."""
        what, about = event.what, event.about
        key, shown = key_of(request), {self.notice: ""}
        try:
            if what == "cancel-all":
                self._cancel_all(key)
            elif what == "hurry":
                self.services.generations.preempt(about, key, actor_of(request))
            elif what in ("cancel", "dismiss"):
                self.services.generations.remove(about, key)
            elif what == "keep":
                shown |= self._keep(key, about, actor_of(request))
            elif what in ("again", "use"):
                shown |= self._once_more(key, about, what == "again", request)
        except (OSError, VelaturaError) as error:
            shown = {self.notice: banner(reason(error), kind="problem")}
        if what == "again":
            shown[self.chosen] = chosen = ""
        return shown | self.refresh(chosen, NOTHING_SEEN, request)

    # ---------------------------------------------------------------- within
    def _expect(self, form: GenerateForm) -> None:
        """Have the base loaded that is drawn on next."""
        _expect(self.services, form)

    def _check(self, form: GenerateForm) -> Compatibility:
        return self.services.generations.check(*form.parse())

    def _fields(self, form: GenerateForm, show: Show, found: Compatibility | None = None) -> str:
        found = found or self._check(form)
        library, bases = self.services.library.entries(), self.services.bases
        problems = {**found.problems, **show.refused}
        if not show.problems and not form.prompt.strip():
            problems.pop("prompt", None)
        first = next((style for style in found.styles if style is not None), None)
        sheet = Sheet(
            form=form,
            library=library,
            bases=bases.found(),
            own=own_base(first, bases),
            found=found,
            problems=problems,
            count=show.count,
            fresh=show.fresh,
            stamp=secrets.token_hex(4),
            said=show.said,
        )
        going = (
            ""
            if library
            else next((view.job.name for view in self.services.queue.runs() if view.state not in ENDED), "")
        )
        return render("playground/form.html", it=read_form(sheet), going=going, styles=styles_words)

    def _with_one_more(self, form: GenerateForm) -> GenerateForm:
        """The fields with another style, the newest that goes with the base and is not among them."""
        library = self.services.library.entries()
        base = self._check(form).base
        free = [style for style in library if style.id not in dict(form.styles)]
        any_fits = not (form.styles or form.options["base"])
        fitting = [style for style in free if any_fits or not incompatibility(style, base)]
        taken = (fitting or free)[:1] if len(form.styles) < MOST_STYLES else []
        return form.with_(styles=(*form.styles, *((style.id, FIRST_STRENGTH) for style in taken)))

    def _with_its_prompt(self, form: GenerateForm) -> tuple[GenerateForm, tuple[str, ...]]:
        """The fields with what another style drew first, unless somebody has words of their own; what is fresh then."""
        library = self.services.library.entries()
        if form.prompt not in self._first_prompts(library):
            return form, ()
        first = next((style for style in library if style.id == form.styles[0][0]), None) if form.styles else None
        return form.with_(prompt=self._first_prompt(first)), ("prompt",)

    def _first_prompts(self, library: list[StyleEntry]) -> set[str]:
        """What stands in the prompt by itself."""
        return {self._first_prompt(style) for style in (*library, None)}

    def _first_prompt(self, style: StyleEntry | None) -> str:
        """What to draw first with a style: what its run drew first, else something plain with its word."""
        example = [words.PROMPT_EXAMPLE, *(style.words[:1] if style is not None else ())]
        return first_prompt(style, self.services.queue) or ", ".join(example)

    def _once_more(self, key: str, id: str, draw: bool, request: gr.Request) -> Shown:
        """Draw something again, or put its settings back into the fields."""
        found = next((one for one in self.services.generations.history(key) if one.id == id), None)
        if found is None:
            raise VelaturaError(GONE)
        if draw:
            self.services.generations.add(found.request, request.username or "", key)
            if not found.pictures:
                self.services.generations.remove(id, key)
            return {}
        form = GenerateForm.of(found.request)
        self.forms.keep(key, form)
        return {self.form: self._fields(form, Show(fresh=("all",)))}

    def _keep(self, key: str, about: str, actor: Actor) -> Shown:
        """Put what a compared picture was drawn with into the fields; a step of a run becomes what the run gives."""
        id, _, place = about.rpartition(":")
        found = next((one for one in self.services.generations.history(key) if one.id == id), None)
        cells = cells_of(found.record.resolved) if found is not None and found.request.axes else ()
        if found is None or not place.isdecimal() or int(place) >= len(cells):
            raise VelaturaError(GONE)
        cell = cells[int(place)]
        for _kind, step in (pair for pair in cell.values if pair[0] == "step"):
            self._star(found.request.styles[0].style, int(step), actor)
        form = keep_cell(self.forms.read(key) or GenerateForm(), found.request, cell)
        self.forms.keep(key, form)
        return {self.form: self._fields(form, Show(fresh=("all",)))}

    def _star(self, style: str, step: int, actor: Actor) -> None:
        """Let a step be what the run of a style gives."""
        entry = self.services.library.entry(style)
        if entry is None or not entry.run:
            raise VelaturaError(GONE_STYLE)
        view = self.services.queue.find(entry.run)
        actor.check(view.job.name, view.job.owner)
        star(view.job.folder, None if step == final_step(view) else step)

    def _kept(self, key: str, one: Generation) -> frozenset[int]:
        """Places of the compared pictures that were drawn with what is in the fields."""
        form, cells = self.forms.read(key) or GenerateForm(), cells_of(one.record.resolved)
        given = {step for cell in cells for kind, step in cell.values if kind == "step"} and self._given_step(one)
        return frozenset(
            place
            for place, cell in enumerate(cells)
            if is_kept(form, one.request, cell) and dict(cell.values).get("step", given) == given
        )

    def _given_step(self, one: Generation) -> int | None:
        """The step of the run of its first style that this style is."""
        entry = self.services.library.entry(one.request.styles[0].style)
        view = self.services.queue.run(entry.run) if entry is not None and entry.run else None
        if view is None:
            return None
        starred = starred_step(view.job.folder)
        return starred if starred is not None else final_step(view)

    def _cancel_all(self, key: str) -> None:
        for generation in self.services.generations.history(key):
            if not generation.ended:
                self.services.generations.remove(generation.id, key)


def expect_page(services: Services, sender: str) -> None:
    """Have the base loaded that somebody will probably draw on next whose page is on its way."""
    form = FormStore(services.paths).read(sender) if sender else None
    _expect(services, form or begin_with(next(iter(services.library.entries()), None), words.PROMPT_EXAMPLE))


def _expect(services: Services, form: GenerateForm) -> None:
    services.generations.expect(form.with_(prompt=form.prompt or words.PROMPT_EXAMPLE).parse()[0])


def _named_prompts(request: gr.Request) -> list[str]:
    """The prompts that the address names, one per line; as many as can be compared."""
    lines = map(one_line, str(request.query_params.get("prompts", ""))[:LONGEST_PROMPTS].splitlines())
    return list(dict.fromkeys(filter(None, lines)))[:MOST_VALUES]


def _pace(found: Sequence[Generation]) -> float:
    """Seconds to the next look at least."""
    active = [one for one in found if not one.ended]
    is_drawn = any(one.state != State.QUEUED or one.progress.behind is None for one in active)
    if is_drawn:
        return AT_FIRST if any(time.time() - one.record.made < JUST for one in active) else DRAWING_NOW
    return SOON if active else LATER


def _to_come(one: Generation) -> list[int]:
    """Places of the pictures that are not there yet."""
    places = () if one.ended else range(len(one.file_names))
    return [place for place in places if place not in one.pictures]


def _picture(one: Generation | None, service: Generations, kept: Collection[int]) -> str:
    return render("playground/picture.html", it=results_view.read_picture(one, service, kept))


def _strip(found: Sequence[Generation], one: Generation | None, service: Generations) -> str:
    thumbnails = results_view.read_strip(found, one.id if one is not None else "", service)
    return render("playground/strip.html", thumbnails=thumbnails)
