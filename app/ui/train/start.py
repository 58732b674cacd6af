"""Step 3 of Train: the cost, the name and the start."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.jobs.database.order import BACKGROUND
from app.jobs.permissions import Actor
from app.jobs.settings import is_trained_here
from app.language import Sentence
from app.studio.dataset.drafts import Draft
from app.studio.dataset.edits import clean
from app.studio.names import LONGEST, safe_name, suggest, unlike
from app.studio.programs.targets import lacks_base
from app.studio.runs.start import start_run
from app.studio.services import Services
from app.studio.settings.plan import choose, problems, trainable, with_settings
from app.studio.settings.prompts import suggested_prompts
from app.studio.sweeps.draft_sweep import method_seconds, start_method_sweep
from app.ui.components.errors import error_line, reason, with_error_line
from app.ui.components.events import actor_of, wire
from app.ui.components.live import AtRequest, block, merged_part, now_us, versioned
from app.ui.components.live_parts import Refresher
from app.ui.components.runs.text import activity
from app.ui.components.shell import AT_ONCE, EACH
from app.ui.document.templates import macro
from app.ui.train import start_view as parts
from app.ui.train import text as words
from app.ui.train.events import (
    START,
    STARTING,
    STEPS,
    SWEEPING,
    StartAction,
    StartPressed,
    StepShown,
    SweepPressed,
)
from trainers.config.config import Config
from trainers.config.sections import Subjects
from trainers.errors import REFUSED, VelaturaError
from trainers.planning.findings import Finding, changes_of, find_ahead

MOST_PROMPTS = 16
SWEEP = "sweep:"
"""Prefix of the mark of a sweep's start."""
TURNS = 32
"""Maximum number of concurrent starts of different drafts."""
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks, steps: gr.HTML) -> None:
    """Lay the step out and connect its events."""
    step = StartStep(services)
    handle = partial(with_error_line, line=step.error_line)
    wire(steps, STEPS, step, None, step.everything, wrap=handle, **EACH)
    wire(step.sheet, START, step, None, step.everything, wrap=handle, **EACH)
    wire(step.foot, STARTING, step, None, step.everything, wrap=handle, **AT_ONCE)
    wire(step.several, SWEEPING, step, None, step.everything, wrap=handle, **AT_ONCE)
    step.refresher.listen(handle(step.refresh), None, step.everything)


class StartStep:
    """The parts of the step and their event handlers."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._turns = [threading.Lock() for _ in range(TURNS)]
        block(AtRequest(macro, "heading", words.START_TITLE))
        scripts = (
            *("components/unsent.js", "components/fields.js", "components/in_turn.js", "components/reachable.js"),
            "train/start.js",
        )
        self.sheet = merged_part(*scripts, elem_id="start-sheet", words=words.START_SAID)
        self.several = merged_part(
            *("components/reachable.js", "train/sweep.js"), elem_id="start-several", words=words.START_SAID
        )
        self.error_line = error_line()
        self.foot = merged_part(*scripts, elem_id="start-foot", words=words.START_SAID)
        self.refresher = Refresher()
        self.everything = [self.sheet, self.several, self.error_line, self.foot, self.refresher.part]

    def on_step_shown(self, event: StepShown, request: gr.Request) -> Shown:
        """The step when it becomes visible, which also starts the measurement."""
        actor = actor_of(request)
        if event.step != "start":
            return {}
        self._measure(self.services.drafts.read(actor.key), actor)
        return self._show(actor)

    def refresh(self, request: gr.Request) -> Shown:
        """Show the measurement's progress and restart one that was abandoned; the foot keeps the reason for a refused
        start."""
        actor = actor_of(request)
        self._measure(self.services.drafts.read(actor.key), actor)
        shown = self._show(actor, ticking=True)
        return {part: value for part, value in shown.items() if part is not self.foot}

    def on_asked(self, event: StartAction, request: gr.Request) -> Shown:
        """Perform the action of a field or a button."""
        actor = actor_of(request)
        what, typed = event.what, event.text
        changes: dict[str, Callable[[Draft], Draft]] = {
            "name": partial(Draft.with_, name=_typed_name(typed)),
            "prompts": partial(Draft.with_, prompts=_lines(typed)),
            "subjects": lambda draft: draft.with_(prompts=suggested_prompts(draft, _subjects(draft))),
            "captions": lambda draft: draft.with_(prompts=suggested_prompts(draft, "captions")),
            "low-memory": partial(choose, what="preset", value="low-memory"),
            "repair": partial(self._repaired, key=event.about),
        }
        key = actor.key
        if what in changes:
            self.services.drafts.change(key, changes[what], actor.tab)
        if what in ("prompts", "subjects", "captions", "low-memory", "measure", "repair"):
            self._measure(self.services.drafts.read(key), actor, again=what == "measure")
        return self._show(actor, ack=event.count)

    def on_start_pressed(self, event: StartPressed, request: gr.Request) -> Shown:
        """Queue the run and open its page.

        A start with the same mark is performed once; with `again`, the page asks for its result after losing the
        connection.
        """
        actor = actor_of(request)
        with self._turn(actor):
            return self._start(event, actor)

    def on_sweep_pressed(self, event: SweepPressed, request: gr.Request) -> Shown:
        """Queue a run for each chosen method and open the sweep's page, once per mark."""
        actor = actor_of(request)
        with self._turn(actor):
            return self._start_sweep(event, actor)

    # ---------------------------------------------------------------- within
    def _turn(self, actor: Actor) -> threading.Lock:
        """The lock of a draft's start: a repeated request waits for the result of the first."""
        return self._turns[hash(actor.key) % len(self._turns)]

    def _start(self, event: StartPressed, actor: Actor) -> Shown:
        drafts, key, mark = self.services.drafts, actor.key, event.mark
        draft = drafts.read(key)
        if mark and draft.started and draft.started[0] == mark:
            return {self.foot: parts.leaving(draft.started[1])}
        if event.again:
            return self._show(actor, words.START_SAID["lost"])
        try:
            draft = drafts.change(key, partial(_typed, event=event), actor.tab)
            wrong = self._wrong(draft, key)
            if wrong:
                return self._show(actor, wrong)
            job = start_run(self.services.queue, self.services.drafts, draft, actor)
        except (OSError, VelaturaError) as error:
            return self._show(actor, words.NOT_STARTED.format(reason(error)))
        with suppress(OSError, VelaturaError):  # it has started; the mark only helps a page that lost the answer
            drafts.change(key, partial(_started, mark=mark, name=job.name), actor.tab)
        for jobs in (self.services.estimate_jobs, self.services.trials):
            jobs.forget(draft)
        return {self.foot: parts.leaving(job.name)}

    def _start_sweep(self, event: SweepPressed, actor: Actor) -> Shown:
        drafts, key, marked = self.services.drafts, actor.key, f"{SWEEP}{event.mark}"
        draft = drafts.read(key)
        if event.mark and draft.started and draft.started[0] == marked:
            return {self.foot: parts.leaving_sweep(draft.started[1])}
        try:
            draft = drafts.change(key, partial(_typed, event=event), actor.tab)
            wrong = self._wrong(draft, key)
            if wrong:
                return self._show(actor, wrong, answered=event.mark)
            sweep = start_method_sweep(self.services.queue, drafts, draft, event.methods, actor)
        except (OSError, VelaturaError) as error:
            return self._show(actor, words.NOT_STARTED.format(reason(error)), answered=event.mark)
        with suppress(OSError, VelaturaError):  # as for a single run
            drafts.change(key, partial(_started, mark=marked, name=sweep.name), actor.tab)
        return {self.foot: parts.leaving_sweep(sweep.name)}

    def _measure(self, draft: Draft, actor: Actor, again: bool = False) -> None:
        config = self._config(draft, actor.key)
        if config is None or any(finding.stops for finding in self._findings(config)):
            return
        with suppress(OSError, VelaturaError):  # what cannot be measured can still be started
            self.services.estimate_jobs.begin(draft, config, actor.name, again)

    def _config(self, draft: Draft, key: str) -> Config | None:
        return trainable(draft, self.services.bases, self.services.preferences.read(key).program)

    def _wrong(self, draft: Draft, key: str) -> str:
        """Why the run cannot start yet, or ""."""
        base = self.services.bases.look(draft.choices.base)
        if not draft.pictures:
            return words.PICTURES_FIRST
        if not safe_name(draft.name or suggest(draft)):
            return words.NAME_FIRST
        if lacks_base(self.services.preferences.read(key).program, base):
            return words.CHOOSE_BASE_FIRST
        if base.problem:
            return words.NO_BASE.format(base.title, base.problem)
        findings = self._findings(trainable(draft, self.services.bases))
        stopping = (Sentence.of(finding.problem) for finding in findings if finding.stops)
        return next(iter(problems(draft).values()), "") or next(stopping, "") or self._refusal(draft)

    def _findings(self, config: Config | None) -> tuple[Finding, ...]:
        """Problems of the run that are known before its start."""
        return find_ahead(config, is_trained_here(self.services.paths.runs)) if config else ()

    def _repaired(self, draft: Draft, key: str) -> Draft:
        findings = self._findings(trainable(draft, self.services.bases))
        return with_settings(draft, changes_of(finding for finding in findings if finding.key == key))

    def _refusal(self, draft: Draft) -> str:
        """The base's refusal of these settings found by the measurement, or ""."""
        config = trainable(draft, self.services.bases)
        estimate = self.services.estimate_jobs.look(draft, config) if config else None
        return estimate.sentence if estimate and estimate.code == REFUSED else ""

    def _show(self, actor: Actor, refused: str = "", ack: int = 0, ticking: bool = False, answered: str = "") -> Shown:
        began = now_us()
        draft = self.services.drafts.read(actor.key)
        config, base = self._config(draft, actor.key), self.services.bases.look(draft.choices.base)
        estimate = self.services.estimate_jobs.look(draft, config) if config else None
        need = estimate.cost.disk(config, len(draft.pictures)) if config and estimate and estimate.cost else 0
        room = shutil.disk_usage(self.services.paths.runs).free
        sheet = parts.StartState(
            draft=draft,
            base=base,
            lacks_base=lacks_base(self.services.preferences.read(actor.key).program, base),
            name=draft.name or suggest(draft),
            called=_called(self.services.paths.runs, draft),
            wrong=len(problems(draft)),
            estimate=estimate,
            time=self.services.measured.time(config, len(draft.pictures)) if config else None,
            busy=self._busy(),
            no_disk=(need, room) if need > room else None,
            findings=self._findings(config),
            started=self._started(draft),
            refused=refused,
            nonce=time.time(),
            ack=ack,
        )
        shown: Shown = {
            self.sheet: versioned(parts.start_sheet(sheet), began),
            self.foot: versioned(parts.start_foot(sheet), began),
            **self.refresher.pause(1 if estimate and estimate.busy else 0, began),
        }
        if not ticking:
            seconds = method_seconds(self.services.measured, draft) if config else {}
            shown[self.several] = versioned(parts.several(draft, seconds, answered), began)
        return shown

    def _started(self, draft: Draft) -> str:
        """The run that was started from this revision; "" if it no longer exists."""
        mark, name = draft.started or ("", "")
        same = draft.started_at == draft.revision and not mark.startswith(SWEEP)
        return name if same and self.services.queue.run(name) else ""

    def _busy(self) -> str:
        now = self.services.queue.activity()
        return activity(now) if now.view is not None and now.view.job.kind not in BACKGROUND else ""


def _started(draft: Draft, mark: str, name: str) -> Draft:
    """The draft with its start recorded in its next revision."""
    return draft.with_(started=(mark, name), started_at=draft.revision + 1)


def _called(runs: Path, draft: Draft) -> str:
    """The line below a name that the run cannot have as typed."""
    typed = draft.name or suggest(draft)
    name = safe_name(typed)
    if not name:
        return words.NAME_FIRST
    free = unlike(runs, name)
    if free != name:
        return words.NAME_TAKEN.format(name, free)
    return "" if name == typed else words.NAME_CHANGED.format(name)


def _typed(draft: Draft, event: StartPressed) -> Draft:
    """The draft with the fields as submitted, which may be newer than the stored ones."""
    name = _typed_name(event.name)
    return draft.with_(
        name=draft.name if name == suggest(draft) and not draft.name else name, prompts=_lines(event.prompts)
    )


def _typed_name(typed: str) -> str:
    return typed[: 2 * LONGEST].strip()


def _lines(typed: str) -> tuple[str, ...]:
    lines = (clean(line) for line in typed.splitlines())
    return tuple(line for line in lines if line)[:MOST_PROMPTS]


def _subjects(draft: Draft) -> Subjects:
    """The kind of new prompts: other scenes for a subject, other subjects for a style."""
    return "scenes" if draft.choices.aim == "subject" else "new"
