"""The Playground: words and styles in, pictures side by side out; what is drawn waits in the queue, not on the page."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.jobs.dispatcher import LOG
from app.studio.generation.compatibility import find_fit, misfit, own_base
from app.studio.generation.form import FIRST_STRENGTH, Desk, begin_with, first_prompt
from app.studio.generation.generation import Drawing
from app.studio.generation.request import MOST_STYLES, SWITCHES, Typed, WishError, as_typed, read_typed
from app.studio.services import Services
from app.studio.styles.entry import StyleEntry
from app.ui.components.errors import reason
from app.ui.components.events import actor_of, digest, flag, given_back, items, key_of, number, said
from app.ui.components.live import patched
from app.ui.components.shell import AT_ONCE, EACH, block, build_shell
from app.ui.playground import results_view
from app.ui.playground import text as words
from app.ui.playground.form_view import Sheet, fields
from app.ui.runs.run import tail
from app.ui.web.html import banner, heading
from trainers.composition.ways import SUM
from trainers.errors import VelaturaError

SOON, LATER = 1, 5
"""Seconds between two looks: while something waits or is drawn, and else."""
TEXTS = ("prompt", "negative", "seed", "steps", "guidance", "size", "sampler", "base", "compose")
LONGEST_ID = 100
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and wire it."""
    build_shell(words.TITLE)
    page = Playground(services)
    state = [page.chosen, page.seen]
    opening = demo.load(page.open, None, page.form, **AT_ONCE)
    opening.then(page.tick, state, page.drawn, **AT_ONCE)
    page.timer.tick(page.tick, state, page.drawn, **AT_ONCE)
    page.form.typed(page.typed, None, page.form, **EACH)
    page.form.asked(page.draw, state, [page.form, page.chosen, *page.drawn], **EACH)
    for part in (page.going, page.picture, page.strip):
        part.asked(page.asked, state, [page.form, page.chosen, *page.drawn], **EACH)


@dataclass(frozen=True)
class Show:
    """How the fields are to be shown."""

    count: int = 0
    fresh: str = ""
    problems: bool = True
    """Whether an empty prompt is one yet."""
    said: str = ""


class Playground:
    """The parts of the page and what happens in them. What a page has seen comes back with each request."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.desk = Desk(services.paths)
        block(heading(words.TITLE, words.LEAD))
        with gr.Row(elem_classes="two easel"):
            with gr.Column(scale=4, min_width=320):
                self.form = patched("unsent.js", "desk.js", elem_id="pg-form")
            with gr.Column(scale=7, min_width=320):
                self.notice = block("", elem_id="pg-notice")
                self.going = patched("asks.js", elem_id="pg-going")
                self.picture = patched("light.js", "picture.js", elem_id="pg-picture", words=_words())
                self.strip = patched("asks.js", elem_id="pg-strip")
        self.chosen, self.seen = gr.Textbox("", visible=False), gr.Textbox("{}", visible=False)
        self.timer = gr.Timer(SOON)
        self.drawn = [self.notice, self.going, self.picture, self.strip, self.seen, self.timer]

    # ---------------------------------------------------------------- the fields
    def open(self, request: gr.Request) -> str:
        """The fields as they were left; where the address names a style, or nothing was left, ready to try one."""
        key, library = key_of(request), self.services.library.entries()
        wanted = str(request.query_params.get("style", ""))[:LONGEST_ID]
        typed = self.desk.read(key)
        item = next((one for one in library if one.id == wanted), None)
        if item is not None and (typed is None or item.id not in dict(typed.styles)):
            drawn = {drawing.wish.prompt for drawing in self.services.drawings.history(key)}
            typed = begin_with(item, self.services.queue, typed, drawn | self._first_prompts(library))
            self.desk.keep(key, typed)
        elif typed is None:
            typed = begin_with(library[0] if library else None, self.services.queue)
        return self._fields(typed, Show(fresh="all", problems=False, said=typed.notice))

    def typed(self, request: gr.Request, event: gr.EventData) -> str:
        """Keep what is typed, and do what a button of the fields wants."""
        key, typed, fresh = key_of(request), _typed(event), ""
        what, about = said(event, "what"), number(event, "about")
        if what == "add":
            typed = self._with_one_more(typed)
        elif what == "take-out":
            kept = tuple(style for place, style in enumerate(typed.styles) if place != about)
            typed, fresh = typed.with_(styles=kept), "styles"
        elif what == "restyle":
            typed, fresh = self._with_its_prompt(typed)
        self.desk.keep(key, typed)
        return self._fields(typed, Show(number(event, "count"), fresh, problems=False))

    def draw(self, chosen: str, seen: str, request: gr.Request, event: gr.EventData) -> Shown:
        """Put what stands in the fields in line; where it cannot be drawn, say so under the field."""
        key, typed, count = key_of(request), _typed(event), number(event, "count")
        wish, problems = read_typed(typed)
        try:
            self.desk.keep(key, typed)
            if problems:
                raise WishError(problems)
            self.services.drawings.ask(wish, request.username or "", key)
        except WishError:
            return {self.form: self._fields(typed, Show(count))}
        except (OSError, VelaturaError) as error:
            return {self.form: self._fields(typed, Show(count, said=reason(error)))}
        return {self.form: self._fields(typed, Show(count)), self.chosen: ""} | self.tick("", seen, request)

    # ---------------------------------------------------------------- the drawings
    def tick(self, chosen: str, seen: str, request: gr.Request) -> Shown:
        """What has changed since the page's last look."""
        drawings, found = self.services.drawings, self.services.drawings.history(key_of(request))
        one = results_view.chosen_one(found, chosen)
        failure = results_view.newest_failure(found)
        log = tail(failure.folder / LOG) if failure is not None else ""
        going = results_view.going(found, log, request.username or "")
        drawn = [(drawing.id, len(drawing.pictures)) for drawing in found if drawing.pictures]
        looked_at = one and (one.id, len(one.pictures), one.ended, one.state)
        parts: dict[str, tuple[gr.HTML, str, Callable[[], str]]] = {
            "going": (self.going, going, lambda: going),
            "picture": (self.picture, repr(looked_at), lambda: results_view.picture(one, drawings)),
            "strip": (self.strip, repr((drawn, one and one.id)), lambda: results_view.strip(found, _id(one), drawings)),
        }
        pace = SOON if any(not drawing.ended for drawing in found) else LATER
        known, now = (
            given_back(seen),
            {name: digest(state) for name, (_, state, _) in parts.items()} | {"pace": str(pace)},
        )
        if known == now:
            return {self.seen: gr.skip()}
        shown: Shown = {part: make() for name, (part, _, make) in parts.items() if known.get(name) != now[name]}
        if known.get("pace") != now["pace"]:
            shown[self.timer] = gr.Timer(pace)
        return shown | {self.seen: json.dumps(now)}

    def asked(self, chosen: str, seen: str, request: gr.Request, event: gr.EventData) -> Shown:
        """Do what a button at a drawing wants."""
        what, about = said(event, "what"), said(event, "about")[:LONGEST_ID]
        key, shown = key_of(request), {self.notice: ""}
        try:
            if what == "show":
                chosen = about
            elif what == "cancel-all":
                self._cancel_all(key)
            elif what == "hurry":
                self.services.drawings.hurry(about, key, actor_of(request))
            elif what in ("cancel", "dismiss"):
                self.services.drawings.remove(about, key)
            elif what in ("again", "use"):
                chosen = "" if what == "again" else chosen
                shown |= self._once_more(key, about, what == "again", request)
        except (OSError, VelaturaError) as error:
            shown = {self.notice: banner(reason(error), kind="problem")}
        return shown | {self.chosen: chosen} | self.tick(chosen, seen, request)

    # ---------------------------------------------------------------- within
    def _fields(self, typed: Typed, show: Show) -> str:
        library, bases = self.services.library.entries(), self.services.bases
        wish, problems = read_typed(typed)
        fit = find_fit(wish, {item.id: item for item in library}, bases)
        problems |= fit.problems
        if not show.problems and not typed.prompt.strip():
            problems.pop("prompt", None)
        first = next((item for item in fit.items if item is not None), None)
        return fields(
            Sheet(
                typed=typed,
                wish=wish,
                library=library,
                bases=bases.found(),
                own=own_base(first, bases),
                fit=fit,
                problems=problems,
                count=show.count,
                fresh=show.fresh,
                stamp=secrets.token_hex(4),
                said=show.said,
            )
        )

    def _with_one_more(self, typed: Typed) -> Typed:
        """The fields with another style, the newest that goes with the base and is not among them."""
        library = self.services.library.entries()
        wish, _ = read_typed(typed)
        base = find_fit(wish, {item.id: item for item in library}, self.services.bases).base
        free = [item for item in library if item.id not in dict(typed.styles)]
        fitting = [item for item in free if not (typed.styles or typed.base) or not misfit(item, base)]
        taken = (fitting or free)[:1] if len(typed.styles) < MOST_STYLES else []
        return typed.with_(styles=(*typed.styles, *((item.id, FIRST_STRENGTH) for item in taken)))

    def _with_its_prompt(self, typed: Typed) -> tuple[Typed, str]:
        """The fields with what another style drew first, unless somebody has words of their own; what is fresh then."""
        library = self.services.library.entries()
        if typed.prompt not in self._first_prompts(library):
            return typed, ""
        first = next((item for item in library if item.id == typed.styles[0][0]), None) if typed.styles else None
        return typed.with_(prompt=first_prompt(first, self.services.queue)), "prompt"

    def _first_prompts(self, library: list[StyleEntry]) -> set[str]:
        """What stands in the prompt by itself."""
        return {first_prompt(item, self.services.queue) for item in (*library, None)}

    def _once_more(self, key: str, id: str, draw: bool, request: gr.Request) -> Shown:
        """Draw something again, or put its settings back into the fields."""
        found = next((one for one in self.services.drawings.history(key) if one.id == id), None)
        if found is None:
            raise VelaturaError(words.GONE)
        if draw:
            self.services.drawings.ask(found.wish, request.username or "", key)
            if not found.pictures:
                self.services.drawings.remove(id, key)
            return {}
        typed = as_typed(found.wish)
        self.desk.keep(key, typed)
        return {self.form: self._fields(typed, Show(fresh="all"))}

    def _cancel_all(self, key: str) -> None:
        for drawing in self.services.drawings.history(key):
            if not drawing.ended:
                self.services.drawings.remove(drawing.id, key)


def _typed(event: gr.EventData) -> Typed:
    """What stands in the fields; it comes from the browser and may be anything."""
    styles = tuple(
        (str(one.get("id", ""))[:LONGEST_ID], str(one.get("strength", ""))[:LONGEST_ID])
        for one in items(event, "styles")[:MOST_STYLES]
    )
    switches = {name: flag(event, name) for name in SWITCHES}
    texts = {name: said(event, name) for name in TEXTS}
    texts["compose"] = texts["compose"] or SUM  # where there are not several styles, the page does not ask
    return Typed(**texts, **switches, styles=styles)


def _id(drawing: Drawing | None) -> str:
    return "" if drawing is None else drawing.id


def _words() -> dict[str, str]:
    return {"close": words.CLOSE, "earlier": words.EARLIER, "later": words.LATER}
