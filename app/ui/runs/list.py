"""The list of trainings: what goes on, what waits, what has ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import gradio as gr

from app.errors import as_sentence
from app.jobs.database.migrations import DamagedQueueError
from app.jobs.permissions import Actor
from app.jobs.small_jobs import ESTIMATE, read_table
from app.jobs.states import ENDED, State
from app.jobs.views import View
from app.studio.queue import Queue, share
from app.studio.runs import samples
from app.studio.services import Services
from app.ui.components import text as shared
from app.ui.components.dialogs import dialogs
from app.ui.components.events import actor_of, number, said
from app.ui.components.live import patched
from app.ui.components.pagination import choice_of, pages, search_field
from app.ui.components.shell import AT_ONCE, EACH, block, build_shell, island
from app.ui.runs import compare_text as comparing
from app.ui.runs import run_view, samples_view
from app.ui.runs import text as words
from app.ui.runs.actions import REPAIR, buttons, perform, undo
from app.ui.runs.compare_view import FEWEST, MOST
from app.ui.trash.page import trash_link
from app.ui.web.html import MARK, banner, button, empty_page, heading, icon, text
from trainers.errors import VelaturaError

A_PAGE = 25
SOON, LATER = 2, 15
"""Seconds between two looks: while something goes on, and else."""
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and wire it."""
    build_shell("Runs")
    page = RunsPage(services.queue)
    state = [page.chosen_state, page.seen]
    demo.load(page.tick, state, page.everything, **AT_ONCE)
    page.timer.tick(page.tick, state, page.everything, **AT_ONCE)
    page.filter.chosen(page.choose, page.seen, [page.chosen_state, *page.everything], **EACH)
    page.list.chosen(page.turn, state, [page.chosen_state, *page.everything], **EACH)
    page.list.asked(page.asked, state, page.everything, **EACH)
    page.notice.asked(page.undone, state, page.everything, **EACH)


class RunsPage:
    """The parts of the page and what happens in them."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        block(heading(words.TITLE))
        self.notice = patched("components/asks.js", elem_id="runs-notice")
        self.filter = island(None, "components/filter.js", _filter(), elem_id="runs-filter")
        self.list = patched(
            *("components/menus.js", "runs/reorder.js", "runs/select.js"),
            below=_ticked(),
            elem_id="runs",
            words=comparing.TICKED,
            fewest=FEWEST,
            most=MOST,
        )
        island(None, "components/dialogs.js", dialogs())
        self.chosen_state = gr.Textbox("{}", visible=False)
        self.seen = gr.Textbox("", visible=False)
        self.timer = gr.Timer(SOON)
        self.everything = [self.notice, self.list, self.seen, self.timer]

    def tick(self, chosen: str, seen: str, request: gr.Request) -> Shown:
        """What the page shows now, where that is something else than it has seen."""
        found, actor = self.queue.look(), actor_of(request)
        listed = self._listing(found.runs, found.small, choice_of(chosen), actor)
        value = _problem(found.problem, actor) + listed + trash_link(self.queue, actor)
        busy = any(view.state not in ENDED for view in found.views)
        digest = sha256(f"{value}{busy}".encode()).hexdigest()[:16]
        if digest == seen:
            return {self.seen: gr.skip()}
        return {self.list: value, self.seen: digest, self.timer: gr.Timer(SOON if busy else LATER)}

    def choose(self, seen: str, request: gr.Request, event: gr.EventData) -> Shown:
        """Show what is searched for."""
        chosen = json.dumps({"search": said(event, "search")[:80], "show": said(event, "show"), "page": 1})
        return {self.chosen_state: chosen} | self.tick(chosen, seen, request)

    def turn(self, chosen: str, seen: str, request: gr.Request, event: gr.EventData) -> Shown:
        """Show another page of the list."""
        turned = json.dumps({**choice_of(chosen), "page": max(1, number(event, "page"))})
        return {self.chosen_state: turned} | self.tick(turned, seen, request)

    def asked(self, chosen: str, seen: str, request: gr.Request, event: gr.EventData) -> Shown:
        """Do what a button wants, and show what has become of it."""
        answer = perform(self.queue, event, actor_of(request))
        return {self.notice: answer.notice} | self.tick(chosen, seen, request)

    def undone(self, chosen: str, seen: str, request: gr.Request, event: gr.EventData) -> Shown:
        """Take back what was just done."""
        notice = undo(self.queue, said(event, "about"), actor_of(request))
        return {self.notice: notice} | self.tick(chosen, seen, request)

    # ---------------------------------------------------------------- within
    def _listing(self, views: list[View], small: list[View], choice: dict[str, Any], actor: Actor) -> str:
        if not views:
            title, lead = words.NO_RUNS
            return empty_page(title, lead, shared.FIRST_STYLE, "./") + _also(small, actor)
        found = [view for view in views if _fits(view, choice, actor)]
        page = min(choice["page"], max(1, -(-len(found) // A_PAGE)))
        rows = "".join(self._row(view, actor) for view in found[(page - 1) * A_PAGE : page * A_PAGE])
        listed = f'<ul class="runs">{rows}</ul>' if rows else f'<p class="hint">{text(words.NONE_SHOWN)}</p>'
        return listed + pages(page, len(found), A_PAGE) + _also(small, actor)

    def _row(self, view: View, actor: Actor) -> str:
        name = view.job.name
        sample = samples.newest(view.job.folder)
        art = f'<span class="blank">{MARK}</span>'
        if sample is not None:
            art = (
                f'<img loading="lazy" src="{text(samples_view.address(sample, self.queue.public(view), True))}" alt="">'
            )
        menu = "".join(buttons(view, actor))
        more = (
            f'<details class="more" data-keep><summary aria-label="{text(words.MORE.format(name))}">{icon("more")}'
            f'</summary><div class="menu">{menu}</div></details>'
        )
        return (
            f'<li data-key="{text(name)}">{_grips(view, actor)}<a class="row-link" href="run?id={text(name)}">{art}'
            f'<span class="who"><b>{text(name)}</b><small>{text(run_view.kind(view, actor))}</small>'
            f"<small>{text(words.line(view))}</small></span>"
            f"{run_view.glaze(share(view), words.PROGRESS)}{run_view.chip(view.state)}</a>{more if menu else ''}</li>"
        )


def _grips(view: View, actor: Actor) -> str:
    """What a row is taken by: a box to tick, and in the line a handle to move it."""
    name, handle = text(view.job.name), ""
    if "move" in actor.permitted(view.job.owner, view.actions):
        handle = (
            f'<button type="button" class="handle" data-about="{name}" '
            f'aria-label="{text(words.HANDLE.format(view.job.name))}">{icon("grip")}</button>'
        )
    return (
        f'<div class="grips"><label class="tick"><input type="checkbox" data-tick="{name}" '
        f'aria-label="{text(comparing.TICK.format(view.job.name))}"></label>{handle}</div>'
    )


def _ticked() -> str:
    """The bar under the list, once a run is ticked."""
    return (
        f'<div class="ticked" role="group" aria-label="{text(comparing.BAR)}" hidden><p role="status"></p>'
        f'<button type="button" class="quiet">{text(comparing.CLEAR)}</button>'
        f'<button type="button" class="go">{text(comparing.COMPARE)}</button></div>'
    )


def _problem(problem: VelaturaError | None, actor: Actor) -> str:
    """What is wrong with the queue as a whole, with what can be done about it."""
    if problem is None:
        return ""
    if isinstance(problem, DamagedQueueError):
        if not actor.owns_machine:
            return banner(words.ASK_TO_REPAIR, kind="problem")
        return banner(words.QUEUE_DAMAGED, button(words.REPAIR, REPAIR), kind="problem")
    return banner(as_sentence(problem), kind="problem")


def _also(small: Sequence[View], actor: Actor) -> str:
    if not small:
        return ""
    rows = "".join(
        f'<li data-key="{view.job.id}"><span>{text(_small(view, actor))}</span>'
        f"<small>{text(view.line)}</small>{run_view.chip(view.state)}{''.join(buttons(view, actor))}</li>"
        for view in small
    )
    return f'<section class="also"><h2>{text(words.ALSO)}</h2><ul>{rows}</ul></section>'


def _small(view: View, actor: Actor) -> str:
    """What a small job is; a measurement with the name of the draft, for whoever is preparing it."""
    if view.job.kind == ESTIMATE and actor.may_change(view.job.owner):
        return words.MEASURING.format(read_table(view.job.folder).get("name", ""))
    return words.SMALL.get(view.job.kind, view.job.kind)


def _filter() -> str:
    options = "".join(f'<option value="{name}">{text(label)}</option>' for name, label in words.SHOWN.items())
    return (
        f'<div class="filter">{search_field("runs-search")}<div class="field">'
        f'<label for="runs-show">{text(words.SHOW)}</label><select id="runs-show">{options}</select></div></div>'
    )


def _fits(view: View, choice: dict[str, Any], actor: Actor) -> bool:
    groups = {"waiting": view.state == State.QUEUED, "ended": view.state in ENDED, "mine": view.job.owner == actor.name}
    groups["running"] = not groups["waiting"] and not groups["ended"]
    needle = choice["search"].strip().casefold()
    if not groups.get(choice["show"], True):
        return False
    return not needle or needle in f"{view.job.name} {run_view.kind(view, actor)}".casefold()
