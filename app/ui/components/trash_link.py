"""The link to the trash below a list."""

from __future__ import annotations

from markupsafe import Markup

from app.jobs.permissions import Actor
from app.jobs.trash.trash import Trash
from app.studio.studio_queue import StudioQueue
from app.ui.document.templates import render


def trash_link(queue: StudioQueue, actor: Actor) -> Markup:
    """A link to the trash, with the number and size of its items; empty if there are none."""
    items = Trash(queue.store).items(actor)
    if not items:
        return Markup()
    return render("components/trash_link.html", count=len(items), size=sum(item.size for item in items))
