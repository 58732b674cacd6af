"""What stands at the top of a run's page, as data: how far it is, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass

from app.jobs.permissions import Actor
from app.jobs.states import ENDED, State
from app.jobs.views import View
from app.studio.studio_queue import share
from app.ui.components import text as shared
from app.ui.components.controls import Control, Fetch, Link
from app.ui.runs import text as words
from app.ui.runs.actions import find_controls
from app.ui.runs.run_view import facts, kind, style_file

PROBLEMS = (State.FAILED, State.INTERRUPTED, State.HANGING)
UNFINISHED = (State.PAUSED, *PROBLEMS, State.CANCELLED)
"""States in which what goes on with a run is most wanted."""


@dataclass(frozen=True)
class Head:
    """What stands at the top of a run's page."""

    name: str
    title: str
    """What the page is called in the browser."""
    ended: bool
    kind: str
    state: State
    done: float
    """0 to 1."""
    line: str
    """What there is to say about it; empty where there is nothing."""
    problem: bool
    facts: tuple[tuple[str, str], ...]
    controls: tuple[Control, ...]
    belongs_to: str
    """Whose it is, for whoever may look at it and not change it."""


def read_head(view: View, sampled: bool, style: str, actor: Actor) -> Head:
    """A run as `actor` sees it; `style` is the id of its style, once there is one."""
    done, name, line = share(view), view.job.name, words.line(view)
    return Head(
        name,
        f"{done:.0%} · {name}" if view.state not in ENDED else name,
        view.state in ENDED,
        kind(view, actor),
        view.state,
        done,
        line[:1].upper() + line[1:],
        view.state in PROBLEMS,
        facts(view),
        tuple(_controls(view, sampled, style, actor)),
        "" if actor.may_change(view.job.owner) else view.job.owner or words.STUDIO_OWNER,
    )


def _controls(view: View, sampled: bool, style: str, actor: Actor) -> list[Control]:
    """The buttons of a run: what is most wanted filled, the rest quieter."""
    unfinished = view.state in UNFINISHED
    first: list[Control] = []
    if style_file(view) is not None:
        first.append(Fetch(words.DOWNLOAD_STYLE, "style", "quiet" if unfinished else "go"))
    if style:
        first.append(Link(shared.TRY_IT, f"playground?style={style}"))
    samples = [Fetch(words.DOWNLOAD_SAMPLES, "samples")] if sampled else []
    found = find_controls(view, actor, "go" if unfinished else "quiet")
    if unfinished and found:
        first.insert(0, found.pop(0))
    return [*first, *found[:-1], *samples, *found[-1:]]
