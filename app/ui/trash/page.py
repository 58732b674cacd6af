"""The Trash page, which restores deleted and restarted things or deletes them for good."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from markupsafe import Markup

from app.jobs import actions
from app.jobs.accounts.audit import AuditLog
from app.jobs.permissions import Actor
from app.jobs.trash.trash import RUN, Trash, TrashItem
from app.studio.dataset.draft_trash import shown_name
from app.studio.runs.links import RunLinks
from app.studio.services import Services
from app.studio.studio_queue import StudioQueue
from app.ui.components import text as shared
from app.ui.components.controls import banner
from app.ui.components.errors import in_a_banner
from app.ui.components.events import actor_of, wire
from app.ui.components.live import AtRequest, merged_part, now_us
from app.ui.components.live_parts import NOTHING_SEEN, LiveParts
from app.ui.components.runs import text as run_words
from app.ui.components.shell import EACH, build_shell, scripted_part
from app.ui.document.templates import render
from app.ui.trash import text as words
from app.ui.trash.events import ACTIONS, TrashAction
from app.units import counted, day, readable_size
from trainers.errors import VelaturaError
from trainers.messages import joined

Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Build the page and connect its events."""
    build_shell("Trash", services.queue, "Runs")
    page = TrashPage(services.queue)
    page.live.listen(demo.load, page.refresh, [page.live.seen], page.everything)
    wire(page.list, ACTIONS, page, None, page.everything, **EACH)


class TrashPage:
    """The parts of the page and the handlers of their events."""

    def __init__(self, queue: StudioQueue) -> None:
        self.queue = queue
        self.notice = merged_part(elem_id="trash-notice")
        self.list = merged_part("components/menus.js", elem_id="trash")
        scripted_part(None, "components/dialogs.js", AtRequest(render, "trash/dialogs.html"))
        self.live = LiveParts({"list": self.list})
        self.everything = [self.notice, *self.live.outputs]

    def refresh(self, seen: str, request: gr.Request) -> Shown:
        """The parts that differ from what the page has `seen`."""
        began, actor = now_us(), actor_of(request)
        value = self._listing(Trash(self.queue.store).items(actor), actor)
        return self.live.answer(seen, {"list": value}, began)

    def on_asked(self, event: TrashAction, request: gr.Request) -> Shown:
        """Restore an item, or delete all of them for good."""
        actor = actor_of(request)
        if event.what == "empty":
            notice = self._emptied(actor)
        else:
            notice = self._restored(event.about, actor)
        return {self.notice: notice} | self.refresh(NOTHING_SEEN, request)

    def _restored(self, item: str, actor: Actor) -> str:
        try:  # a restarted run goes on, and the old one comes back beside it
            trashed = Trash(self.queue.store).item(item, actor)
            name = actions.restore(self.queue.store, item, instead=False, actor=actor)
        except (OSError, VelaturaError) as error:
            return in_a_banner(error)
        back = shared.BACK.format(shown_name(replace(trashed, name=name)))
        links = RunLinks(self.queue)
        linked = trashed.kind == RUN and links.token_of(self.queue.find(name))
        return banner(joined(" ", (back, words.LINK_WORKS)) if linked else back)

    def _emptied(self, actor: Actor) -> str:
        try:
            freed = Trash(self.queue.store).empty(actor)
            AuditLog(self.queue.store.runs).note("empty", actor)
        except (OSError, VelaturaError) as error:
            return in_a_banner(error)
        return banner(words.EMPTIED.format(readable_size(freed)))

    def _listing(self, items: list[TrashItem], actor: Actor) -> Markup:
        links = RunLinks(self.queue)
        rows = [_row(item, actor, links.is_kept(item)) for item in items]
        sizes = [item.size for item in items if actor.owns(item.owner)]
        return render("trash/list.html", rows=rows, own=len(sizes), size=sum(sizes))


@dataclass(frozen=True)
class TrashRow:
    """An item of the list."""

    id: str
    name: str
    facts: tuple[str, ...]


def _row(item: TrashItem, actor: Actor, linked: bool) -> TrashRow:
    days = max(1, round((item.expires - time.time()) / 86_400))
    when = words.WHEN.get(item.kind, words.DELETED)
    facts = (
        words.KINDS.get(item.kind, item.kind),
        run_words.by(item.owner, actor) if item.owner != actor.name else "",
        when.format(day(item.deleted, time.time())),
        words.LEFT.format(counted(days, "day")),
        readable_size(item.size),
        words.LINKED if linked else "",
    )
    return TrashRow(item.id, shown_name(item), tuple(filter(None, facts)))
