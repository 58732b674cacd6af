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
"""What the strip says, by the kind of what went into the trash; pictures of Train have their own way back there."""


class UndoWanted(PageEvent):
    """The last thing is to be taken back."""

    about: Id
    """Its id in the trash."""


EVENTS = {"undone": UndoWanted}


class UndoStrip:
    """Brings back what went into the trash last."""

    def __init__(self, queue: StudioQueue) -> None:
        self.queue = queue

    def on_undone(self, event: UndoWanted, request: gr.Request) -> dict[str, str]:
        """Bring it back; what is said of it. A restarted run that is at work again ends for the one it was."""
        try:
            name = actions.restore(self.queue.store, event.about, instead=True, actor=actor_of(request))
        except (OSError, VelaturaError) as error:
            return {"about": event.about, "problem": reason(error)}
        # What it has replaced is in the trash now, which is nothing that anybody has done.
        seen = next((item.id for item in Trash(self.queue.store).recent(60)), event.about)
        return {"about": seen, "text": words.BACK.format(name)}


def describe(item: TrashItem) -> str:
    """What was done, in a sentence; "" where the strip offers no way back."""
    said = SAID.get(item.kind, "")
    return said.format(item.name) if said else ""
