"""A strip at the bottom of every page: the last thing that was deleted or restarted, and the way back.

What it shows comes with the state of the computer (`app/ui/now.py`), so it is there on whatever page somebody goes to.
"""

from __future__ import annotations

import gradio as gr

from app.jobs import actions
from app.jobs.trash.trash import DRAWING, REPLACED, RESTARTED, RUN, STYLE, Trash, TrashItem
from app.studio.studio_queue import StudioQueue
from app.ui.components import text as words
from app.ui.components.errors import reason
from app.ui.components.events import Id, PageEvent, actor_of
from trainers.errors import VelaturaError

SAID = {
    RUN: words.DELETED,
    STYLE: words.DELETED_STYLE,
    DRAWING: words.DELETED,
    RESTARTED: words.RESTARTED,
    REPLACED: words.REPLACED,
}
"""Texts by kind of item; Train restores its pictures itself."""


class UndoWanted(PageEvent):
    """A request to undo the last action."""

    about: Id
    """The id of the item in the trash."""


EVENTS = {"undone": UndoWanted}


class UndoStrip:
    """Restores the latest item of the trash."""

    def __init__(self, queue: StudioQueue) -> None:
        self.queue = queue

    def on_undone(self, event: UndoWanted, request: gr.Request) -> dict[str, str]:
        """Restore the item, and return a message. The earlier run replaces a restarted one, even a running one."""
        try:
            name = actions.restore(self.queue.store, event.about, instead=True, actor=actor_of(request))
        except (OSError, VelaturaError) as error:
            return {"about": event.about, "problem": reason(error)}
        # The item that it replaced is in the trash now, but nobody deleted it: the strip must not offer it.
        seen = next((item.id for item in Trash(self.queue.store).recent(60)), event.about)
        return {"about": seen, "text": words.BACK.format(name)}


def describe(item: TrashItem) -> str:
    """A sentence about the item; "" if the strip does not restore its kind."""
    text = SAID.get(item.kind, "")
    return text.format(item.name) if text else ""
