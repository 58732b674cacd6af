"""The page Runs: active, waiting and ended runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
from markupsafe import Markup

from app.errors import as_sentence
from app.jobs.database.migrations import DamagedQueueError
from app.jobs.job import REQUEST, read_table
from app.jobs.permissions import Actor
from app.jobs.states import ENDED, State
from app.jobs.store import ESTIMATE
from app.jobs.view import View
from app.language import translate
from app.studio.runs import chosen, samples
from app.studio.runs.notes import read_notes
from app.studio.runs.start_times import StartTimes
from app.studio.services import Services
from app.studio.studio_queue import QueueSnapshot, StudioQueue, share
from app.studio.sweeps.fold import Folded, fold, size_of
from app.studio.sweeps.sweeps import progress
from app.ui.components import text as shared
from app.ui.components.controls import Button, Control
from app.ui.components.events import actor_of, wire
from app.ui.components.live import AtRequest, block, merged_part, now_us
from app.ui.components.live_parts import NOTHING_SEEN, LiveParts
from app.ui.components.pagination import ListChoice, pages
from app.ui.components.runs import run_view
from app.ui.components.runs import text as run_words
from app.ui.components.shell import EACH, build_shell, scripted_part
from app.ui.components.trash_link import trash_link
from app.ui.document.templates import macro, render
from app.ui.runs import compare_text as comparing
from app.ui.runs import text as words
from app.ui.runs.actions import ASKED, REPAIR, find_controls, perform
from app.ui.runs.compare_view import FEWEST, MOST
from app.ui.runs.events import ACTIONS, RunAction
from app.units import readable_size
from trainers.errors import VelaturaError
from trainers.messages import joined

A_PAGE = 25
PAUSE = 3
"""Seconds between two refreshes."""
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out and connect its events."""
    build_shell("Runs", services.queue)
    page = RunsPage(services.queue)
    page.live.listen(demo.load, page.refresh, [page.filter, page.live.seen], page.everything)
    for part in (page.notice, page.list):
        wire(part, ACTIONS, page, [page.filter], page.everything, **EACH)


class RunsPage:
    """The parts of the page and their event handlers."""

    def __init__(self, queue: StudioQueue) -> None:
        self.queue = queue
        block(AtRequest(macro, "heading", shared.RUNS))
        self.notice = merged_part("components/clicks.js", elem_id="runs-notice")
        self.filter = scripted_part(
            "{}", "components/filter.js", AtRequest(render, "runs/filter.html"), elem_id="runs-filter"
        )
        self.list = merged_part(
            *("components/menus.js", "runs/reorder.js", "runs/select.js"),
            below=AtRequest(render, "runs/select.html", select=comparing),
            elem_id="runs",
            words=comparing.TICKED,
            fewest=FEWEST,
            most=MOST,
        )
        scripted_part(None, "components/dialogs.js", AtRequest(render, "runs/dialogs.html", **ASKED))
        self.live = LiveParts({"list": self.list})
        self.everything = [self.notice, *self.live.outputs]

    def refresh(self, chosen: str, seen: str, request: gr.Request) -> Shown:
        """The parts that have changed since the page's last refresh."""
        began = now_us()
        state, actor = self.queue.look(), actor_of(request)
        value = listing(self.queue, state, ListChoice.read(chosen), actor)
        return self.live.answer(seen, {"list": value}, began, PAUSE)

    def on_asked(self, event: RunAction, request: gr.Request, chosen: str) -> Shown:
        """Perform the action of a button and show the result."""
        answer = perform(self.queue, event, actor_of(request))
        return {self.notice: answer.notice} | self.refresh(chosen, NOTHING_SEEN, request)


@dataclass(frozen=True)
class RunRow:
    """A run in the list."""

    template: ClassVar[str] = "runs/row.html"
    name: str
    picture: Path | None
    """Its newest sample, or that of the starred step."""
    kind: str
    line: str
    """Its sentence."""
    done: float
    """Progress, 0 to 1."""
    state: State
    ended: bool
    movable: bool
    """Whether the viewer may move it in the line."""
    controls: tuple[Control, ...]
    size: str
    """Its size on disk."""
    notes: str


@dataclass(frozen=True)
class SweepRow:
    """A sweep in the list, in place of its runs."""

    template: ClassVar[str] = "runs/sweep_row.html"
    name: str
    first: str
    """Its first run that still exists."""
    picture: Path | None
    """The newest sample of one of its runs."""
    kind: str
    line: str
    """The progress of its runs."""
    done: float
    """Progress, 0 to 1."""
    size: str
    """The size on disk of its runs."""


@dataclass(frozen=True)
class SmallJob:
    """Another job that uses the computer."""

    id: int
    title: str
    line: str
    state: State
    controls: tuple[Control, ...]


def listing(queue: StudioQueue, found: QueueSnapshot, choice: ListChoice, actor: Actor) -> Markup:
    """The list: problems of the queue, a page of runs, other jobs, and a cluster's machines."""
    fitting = [view for view in found.runs if _fits(view, choice, actor)]
    items = choice.ordered(fold(queue.store.runs, fitting, found.runs), _name, size_of)
    page = min(choice.page, max(1, -(-len(items) // A_PAGE)))
    problem, repair = _problem(found.problem, actor)
    starts = StartTimes(queue.paths, lambda: found.views)
    return render(
        "runs/list.html",
        problem=problem,
        repair=repair,
        any=bool(found.runs),
        rows=[_any_row(queue, item, actor, starts, choice) for item in items[(page - 1) * A_PAGE : page * A_PAGE]],
        pages=pages(page, len(items), A_PAGE),
        small_jobs=[small_job(view, actor) for view in found.small],
        trash_link=trash_link(queue, actor),
        select=comparing,
        **_machines(queue),
    )


def _name(item: View | Folded) -> str:
    return item.sweep.name if isinstance(item, Folded) else item.job.name


def _any_row(
    queue: StudioQueue, item: View | Folded, actor: Actor, starts: StartTimes, choice: ListChoice
) -> RunRow | SweepRow:
    return _sweep_row(queue, item) if isinstance(item, Folded) else _row(queue, item, actor, starts, choice)


def _sweep_row(queue: StudioQueue, item: Folded) -> SweepRow:
    views = [member.view for member in item.members if member.view is not None]
    drawn = ((view, sample) for view in views for sample in chosen.chosen_samples(view)[:1])
    view, sample = next(drawn, (views[0], None))
    return SweepRow(
        item.sweep.name,
        views[0].job.name,
        samples.put_sample(sample, queue.public(view), True) if sample is not None else None,
        run_words.sweep_kind(item.sweep.axes),
        progress(item.members).line,
        sum(map(share, views)) / len(views),
        readable_size(size_of(item)),
    )


def _row(queue: StudioQueue, view: View, actor: Actor, starts: StartTimes, choice: ListChoice) -> RunRow:
    sample = next(iter(chosen.chosen_samples(view)), None)
    return RunRow(
        view.job.name,
        samples.put_sample(sample, queue.public(view), True) if sample is not None else None,
        run_view.kind(view, actor),
        _line(view, starts),
        share(view),
        view.state,
        view.state in ENDED,
        choice.sort == "newest" and "move" in actor.permitted(view.job.owner, view.actions),
        tuple(find_controls(view, actor)),
        readable_size(size_of(view)),
        read_notes(view.job.folder).line,
    )


def _line(view: View, starts: StartTimes) -> str:
    """A run's sentence; for a finished run its steps and time, as the chip has the state."""
    done = run_view.progress_facts(view) if view.state == State.FINISHED and not view.trouble else ()
    return joined(" · ", done) if done else run_words.line(view, starts.seconds_until(view))


def small_job(view: View, actor: Actor) -> SmallJob:
    """A small job; a measurement has its draft's name for the person preparing that draft."""
    title = run_words.SMALL.get(view.job.kind, view.job.kind)
    if view.job.kind == ESTIMATE and actor.may_change(view.job.owner):
        title = words.WAITS_TO_MEASURE if view.state == State.QUEUED else words.MEASURING
        title = title.format(read_table(view.job.folder / REQUEST).get("name", ""))
    return SmallJob(view.job.id, title, view.line, view.state, tuple(find_controls(view, actor)))


def _problem(problem: VelaturaError | None, actor: Actor) -> tuple[str, tuple[Control, ...]]:
    """The problem of the queue with its controls; "" if it has none."""
    if problem is None:
        return "", ()
    if not isinstance(problem, DamagedQueueError):
        return as_sentence(problem), ()
    if not actor.may_change(""):
        return words.ASK_TO_REPAIR, ()
    return words.QUEUE_DAMAGED, (Button(words.REPAIR, REPAIR),)


def _machines(queue: StudioQueue) -> dict[str, Any]:
    """The machines of a cluster, or why it cannot be reached."""
    try:
        return {"machines": queue.machines(), "cluster_problem": ""}
    except VelaturaError as error:
        return {"machines": (), "cluster_problem": as_sentence(error)}


def _fits(view: View, choice: ListChoice, actor: Actor) -> bool:
    groups = {"waiting": view.state == State.QUEUED, "ended": view.state in ENDED, "mine": view.job.owner == actor.name}
    groups["running"] = not groups["waiting"] and not groups["ended"]
    if not groups.get(choice.show, True):
        return False
    if not choice.search.strip():
        return True
    kind = translate(run_view.kind(view, actor))
    return choice.finds(f"{view.job.name} {kind} {read_notes(view.job.folder).line}")
