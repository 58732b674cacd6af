"""Step 2 of Train: the program and its base, the aim and the preset."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, get_args

import gradio as gr
from markupsafe import Markup

from app.errors import as_sentence
from app.jobs.permissions import Actor
from app.studio.base_models import Base
from app.studio.dataset.drafts import Choices, Draft
from app.studio.dataset.previews import part_preview
from app.studio.downloads import hub_login
from app.studio.downloads.downloads import OFFERS
from app.studio.programs.targets import TARGETS, TRY, lacks_base, opens
from app.studio.runs.trials import prompt_of
from app.studio.services import Services
from app.studio.settings.plan import (
    choose,
    drafts_by_preset,
    train_word_alone,
    trainable,
    with_choices,
    with_setting,
    with_technique,
    with_technique_words,
    without_settings,
)
from app.studio.settings.techniques import BY_NAME
from app.ui.components.errors import error_line, with_error_line
from app.ui.components.events import actor_of, wire
from app.ui.components.live import AtRequest, block, merged_part, now_us, versioned
from app.ui.components.live_parts import Refresher
from app.ui.components.shell import EACH
from app.ui.document.templates import macro, render
from app.ui.gradio_internals import file_address
from app.ui.train import base_view, style_view
from app.ui.train import text as words
from app.ui.train.events import STEPS, STYLE, Part, SettingsRead, StepShown, StyleAction
from app.ui.train.presets.actions import NOTHING_SAID, Answer, Presets
from app.ui.train.settings_view import settings_fold
from trainers.config.config import Config
from trainers.config.presets import STARTER
from trainers.data.decode import UnreadableError
from trainers.errors import VelaturaError
from trainers.models.files.hub import HUB_ID

MOST_TOKEN = 200
OFTEN, WAITING, SELDOM = 1, 3, 30
"""Seconds between two refreshes: during a download or measurement, while a trial is awaited, and to check whether a
busy computer is quieter."""
CHOICES, OWN, MORE, SETTINGS = PARTS = get_args(Part)
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks, steps: gr.HTML) -> None:
    """Lay the step out and connect its events."""
    step = StyleStep(services)
    handle = partial(with_error_line, line=step.error_line)
    wire(steps, STEPS, step, None, step.everything, wrap=handle, **EACH)
    for part in step.parts:
        wire(part, STYLE, step, None, step.everything, wrap=handle, **EACH)
    step.refresher.listen(handle(step.refresh), None, step.everything)


class StyleStep:
    """The parts of the step and their event handlers; each handler changes the draft, then shows it."""

    def __init__(self, services: Services) -> None:
        self.services, self.presets = services, Presets(services)
        block(AtRequest(macro, "heading", words.TITLE))
        scripts = (
            "components/unsent.js",
            "components/fields.js",
            "components/in_turn.js",
            "components/dropped.js",
            "train/style.js",
        )
        self.choices, self.own, self.more, self.settings = (merged_part(*scripts, elem_id=name) for name in PARTS)
        self.error_line = error_line()
        block(AtRequest(render, "train/style_foot.html"))
        self.parts = (self.choices, self.own, self.more, self.settings)
        self.refresher = Refresher()
        self.everything = [*self.parts, self.error_line, self.refresher.part]

    def on_step_shown(self, event: StepShown, request: gr.Request) -> Shown:
        """The step when it becomes visible."""
        actor = actor_of(request)
        if event.step != "style":
            return {}
        if self.services.drafts.read(actor.key).choices == Choices():  # a clone keeps the base of its run
            self._suit_base(actor)
        self._take_arrived(actor)
        return self._choices(actor) | self._below(actor)

    def refresh(self, request: gr.Request) -> Shown:
        """Show the progress of downloads and of the measurement; measure again on a computer that was busy before."""
        actor = actor_of(request)
        self._take_arrived(actor)
        shown = self._choices(actor)
        measuring = self.services.estimate_jobs.now(self.services.drafts.read(actor.key)).busy
        return shown if measuring and not self._fetching() else shown | self._more(actor)

    def on_asked(self, event: StyleAction, request: gr.Request) -> Shown:
        """Perform the action of a card, a field or a button."""
        actor = actor_of(request)
        what, about, text = event.what, event.about, event.text
        changes: dict[str, Callable[[Draft], Draft]] = {
            "aim": partial(choose, what="aim", value=about),
            "preset": partial(choose, what="preset", value=about),
            "method": partial(choose, what="method", value=about),
            "beside": partial(_turn, name=about, text=text),
            "beside-words": partial(_write, name=about, text=text),
            "word-alone": partial(train_word_alone, alone=text == "on"),
            "set": partial(with_setting, key=about, text=text),
            "back": lambda draft: without_settings(draft, *filter(None, [about])),
        }
        key, named, problem = actor.key, None, ""
        if what in changes:
            self.services.drafts.change(key, changes[what], actor.tab)
        elif what == "program" and about in TARGETS:
            self.services.preferences.change(key, program=about)
            self._suit_base(actor)
        elif what == "base":
            named = self._take_base(key, about, actor.tab)
        elif what in ("download", "pause-download", "log-in", "log-out", "again"):
            problem = self._fetch(actor, what, about, event.token)
        elif what in ("advanced", "trials"):
            self.services.preferences.change(key, **{what: text == "on"})
        answer = self.presets.act(event, actor)
        draft = self.services.drafts.read(key)
        if what in ("measure", "program", "base", "again"):
            self._measure(draft, actor, again=what == "measure")
        edit = event if event.count else None
        return self._choices(actor, named, problem, edit) | self._below(actor, answer, event.open, edit)

    def on_settings_read(self, event: SettingsRead, request: gr.Request) -> Shown:
        """Import a settings file of the studio or of another program."""
        actor = actor_of(request)
        answer = self.presets.read(event, actor)
        return self._choices(actor) | self._below(actor, answer, event.open)

    # ---------------------------------------------------------------- within
    def _suit_base(self, actor: Actor) -> None:
        """Take the starter to try things out; else replace it by the base that was chosen last, or by the only one that
        suits the program."""
        key, bases, preferences = actor.key, self.services.bases, self.services.preferences.read(actor.key)
        target, base = preferences.program, bases.look(self.services.drafts.read(key).choices.base)
        suited = ""
        if target == TRY:
            suited = STARTER
        elif target and lacks_base(target, base):
            here = [each.model for each in bases.found() if opens(target, each)]
            suited = preferences.base if preferences.base in here else here[0] if len(here) == 1 else ""
        if suited:
            self.services.drafts.change(key, lambda draft: with_choices(draft, base=suited), actor.tab)

    def _take_arrived(self, actor: Actor) -> None:
        """Use a downloaded base that was waited for unless another was chosen, and measure the chosen one."""
        key, drafts = actor.key, self.services.drafts
        draft = drafts.read(key)
        if arrived := self.services.downloads.arrived_for(key):
            self.services.bases.found(again=True)
            if self.services.bases.look(draft.choices.base).is_starter:
                draft = drafts.change(key, lambda now: with_choices(now, base=arrived), actor.tab)
        if not self._fetching():
            self._measure(draft, actor)

    def _take_base(self, key: str, model: str, tab: str) -> Base | None:
        """Use the named base, or return it if it has a problem."""
        base = self.services.bases.look(model)
        if not model.strip():
            return None
        if base.problem:
            return base
        self.services.drafts.change(key, lambda draft: with_choices(draft, base=base.model), tab)
        self.services.preferences.change(key, base=base.model)
        return None

    def _fetch(self, actor: Actor, what: str, model: str, token: str) -> str:
        """Act on a download or on the login to the hub, or look for bases again; returns a problem, or ""."""
        if what == "again":
            self.services.bases.found(again=True)
        elif what == "pause-download":
            self.services.downloads.stop(model, actor.key)
        elif what in ("log-in", "log-out"):
            try:
                if not self._may_log_in(actor):
                    raise VelaturaError(words.ASK_TO_LOG_IN)
                hub_login.log_in(token[:MOST_TOKEN]) if what == "log-in" else hub_login.log_out()
            except VelaturaError as error:
                return as_sentence(error)
        if what in ("download", "log-in") and HUB_ID.fullmatch(model):
            if not (self._may_log_in(actor) or model in {offer.model for offer in OFFERS}):
                raise VelaturaError(words.ASK_TO_DOWNLOAD)  # it would come with the login of this computer
            self.services.downloads.start(model, actor.key)
        return ""

    def _may_log_in(self, actor: Actor) -> bool:
        """Whether they may change the login that this computer has at the hub."""
        return self.services.bases.anywhere or actor.is_admin

    def _measure(self, draft: Draft, actor: Actor, again: bool = False) -> None:
        """Measure the speed of this computer on the chosen base, if unknown."""
        config, jobs = self._config(draft, actor.key), self.services.estimate_jobs
        if config is None:
            return
        with suppress(OSError, VelaturaError):  # what cannot be measured can still be trained
            if again:
                jobs.begin(draft, config, actor.name, again)
            else:
                jobs.begin_pace(draft, config, actor.name)

    def _choices(
        self, actor: Actor, named: Base | None = None, problem: str = "", edit: StyleAction | None = None
    ) -> Shown:
        began = now_us()
        services, draft = self.services, self.services.drafts.read(actor.key)
        target, base = services.preferences.read(actor.key).program, services.bases.look(draft.choices.base)
        config, estimate = self._config(draft, actor.key), services.estimate_jobs.now(draft)
        last = services.measured.last(config) if config else None
        times = services.measured.times(drafts_by_preset(draft))
        pace = style_view.pace_line(last.pace if last else None, times, time.time())
        was_busy = bool(last and last.pace and last.pace.was_busy)
        tries = self._tries(draft, config, actor)
        pause = OFTEN if self._fetching() or estimate.busy else WAITING if tries.awaits else SELDOM if was_busy else 0
        sheet = render(
            "train/choices.html",
            programs=base_view.read_programs(target),
            base=base_view.read_choice(target, base),
            panel=base_view.read_panel(target, draft.choices.base, services.bases, services.downloads),
            account=base_view.read_account(self._may_log_in(actor), problem),
            answer=named,
            aims=style_view.read_aims(draft),
            is_subject=draft.choices.aim == "subject",
            stops=style_view.read_stops(draft, times, estimate, pace, config is not None, tries),
            short=style_view.memory_line(draft, last, estimate),
            edit=edit,
        )
        return {self.choices: versioned(sheet, began)} | self.refresher.pause(pause, began)

    def _tries(self, draft: Draft, config: Config | None, actor: Actor) -> style_view.Tries:
        """The pictures of the stops; the next trial begins unless these are turned off."""
        trials, is_on = self.services.trials, self.services.preferences.read(actor.key).trials
        if not is_on:
            trials.forget(draft)
        awaits = is_on and config is not None and trials.go_on(draft, actor.name)
        pictures = {name: trial for name, trial in trials.look(draft).items() if trial.is_current or awaits}
        return style_view.Tries(
            own=self._own_picture(draft),
            pictures={name: file_address(trial.path) for name, trial in pictures.items()},
            current=frozenset(name for name, trial in pictures.items() if trial.is_current),
            prompt=prompt_of(draft),
            awaits=awaits,
            is_on=is_on,
            can_be=bool(pictures) or (config is not None and trials.can_go_on(draft)),
        )

    def _own_picture(self, draft: Draft) -> str:
        """The URL of the first picture of a draft as it is trained; "" without one."""
        drafts = self.services.drafts
        for picture in draft.pictures[:1]:
            with suppress(OSError, UnreadableError):
                path = drafts.pictures(draft) / f"{picture.id}.png"
                return file_address(part_preview(path, picture.source_crop, drafts.previews(draft)))
        return ""

    def _below(
        self,
        actor: Actor,
        answer: Answer = NOTHING_SAID,
        is_open: bool = False,
        edit: StyleAction | None = None,
    ) -> Shown:
        began = now_us()
        draft = self.services.drafts.read(actor.key)
        rows = self.presets.rows(actor.name, draft)
        answers = [answer]
        if answer.report is None or answer.report.used:  # a report stays until its settings are used or discarded
            answers.append(self.presets.unused(draft))
        in_settings = [item for item in answers if item.of == SETTINGS and is_open]
        in_own = [item for item in answers if item not in in_settings]
        own = render("train/presets/list.html", rows=rows, said=_said(draft, in_own))
        settings = settings_fold(draft, is_open, _said(draft, in_settings))
        shown: Shown = {self.own: versioned(own, began), self.settings: versioned(settings, began)}
        return shown | self._more(actor, edit)

    def _more(self, actor: Actor, edit: StyleAction | None = None) -> Shown:
        began = now_us()
        key, services = actor.key, self.services
        draft, advanced = services.drafts.read(key), None
        if services.preferences.read(key).advanced:
            base = services.bases.look(draft.choices.base)
            advanced = style_view.read_advanced(draft, base, services.measured.times(drafts_by_preset(draft)))
        sheet = render(
            "train/more.html",
            start=Path(draft.choices.start).stem,
            advanced=advanced,
            advanced_line=style_view.advanced_line(draft),
            wrong=style_view.wrong_line(draft),
            edit=edit,
        )
        return {self.more: versioned(sheet, began)}

    def _config(self, draft: Draft, key: str) -> Config | None:
        return trainable(draft, self.services.bases, self.services.preferences.read(key).program)

    def _fetching(self) -> bool:
        downloads = self.services.downloads
        return any(downloads.look(model).busy for model in downloads.models())


def _said(draft: Draft, answers: Sequence[Answer]) -> Markup:
    """The answers, and the line that reopens the report of an import."""
    return render("train/presets/said.html", answers=answers, imported=draft.choices.imported)


def _turn(draft: Draft, name: str, text: str) -> Draft:
    return with_technique(draft, BY_NAME[name], text == "on") if name in BY_NAME else draft


def _write(draft: Draft, name: str, text: str) -> Draft:
    return with_technique_words(draft, BY_NAME[name], text) if name in BY_NAME else draft
