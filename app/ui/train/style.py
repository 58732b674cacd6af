"""The second step of Train: what should be learned, with how much care, on which base."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from app.errors import as_sentence
from app.studio.base_models import Base
from app.studio.dataset.drafts import Draft
from app.studio.services import Services
from app.studio.settings.plan import (
    choose,
    from_table,
    learning_alone,
    plan,
    turned,
    with_choices,
    with_setting,
    with_words,
    without_settings,
)
from app.studio.settings.techniques import BY_NAME
from app.ui.components.errors import error_line, with_error_line
from app.ui.components.events import key_of, tab_of, wire
from app.ui.components.live import block, patched
from app.ui.components.shell import AT_ONCE, EACH
from app.ui.document.templates import macro, render
from app.ui.train import base_view, style_view
from app.ui.train import text as words
from app.ui.train.events import STEPS, STYLE, StepShown, StyleAction
from app.ui.train.settings_view import Answer, SettingsFile, settings_fold
from app.ui.train.techniques_view import read_techniques
from trainers.config.build import dump_config
from trainers.errors import VelaturaError
from trainers.models.files.hub import HUB_ID

MOST_TOML = 9000
MOST_TOKEN = 200
Shown = dict[Any, Any]


def build(services: Services, demo: gr.Blocks, steps: gr.HTML) -> None:
    """Lay the step out and wire it."""
    step = StyleStep(services)
    handle = partial(with_error_line, line=step.error_line)
    wire(steps, STEPS, step, None, step.everything, wrap=handle, **EACH)
    for part in (step.choices, step.settings):
        wire(part, STYLE, step, None, step.everything, wrap=handle, **EACH)
    step.timer.tick(handle(step.ticked), None, step.everything, **AT_ONCE)


class StyleStep:
    """The parts of the step and what happens in them. Every action is a change of the draft, then shown."""

    def __init__(self, services: Services) -> None:
        self.services = services
        block(macro("heading", words.TITLE))
        self.choices = patched(
            "components/unsent.js", "components/fields.js", "train/style.js", elem_id="style-choices"
        )
        self.settings = patched(
            "components/unsent.js", "components/fields.js", "train/style.js", elem_id="style-settings"
        )
        self.error_line = error_line()
        block(render("train/style_foot.html"))
        self.timer = gr.Timer(1, active=False)
        self.everything = [self.choices, self.settings, self.error_line, self.timer]

    def on_step_shown(self, event: StepShown, request: gr.Request) -> Shown:
        """What the step shows when it comes into view."""
        if event.step != "style":
            return {self.timer: gr.Timer(active=False)}
        draft = self.services.drafts.read(key_of(request))
        return self._choices(draft) | {self.settings: settings_fold(draft, False)}

    def ticked(self, request: gr.Request) -> Shown:
        """Show how far the downloads are; a base that somebody waited for is taken if they still have the starter."""
        key, drafts = key_of(request), self.services.drafts
        draft = drafts.read(key)
        if arrived := self.services.downloads.arrived_for(key):
            self.services.bases.found(again=True)
            if self.services.bases.look(draft.choices.base).is_starter:
                draft = drafts.change(key, lambda now: with_choices(now, base=arrived), tab_of(request))
        return self._choices(draft)

    def on_asked(self, event: StyleAction, request: gr.Request) -> Shown:
        """What a card, a field or a button wants."""
        what, about, text = event.what, event.about, event.text
        changes: dict[str, Callable[[Draft], Draft]] = {
            "aim": partial(choose, what="aim", value=about),
            "preset": partial(choose, what="preset", value=about),
            "method": partial(choose, what="method", value=about),
            "beside": partial(_turn, name=about, text=text),
            "beside-words": partial(_write, name=about, text=text),
            "word-alone": partial(learning_alone, alone=text == "on"),
            "set": partial(with_setting, key=about, text=text),
            "back": lambda draft: without_settings(draft, *filter(None, [about])),
        }
        key, named, answer = key_of(request), None, Answer()
        if what in changes:
            self.services.drafts.change(key, changes[what], tab_of(request))
        elif what == "base":
            named = self._take_base(key, about, tab_of(request))
        elif what in ("download", "cancel-download", "again"):
            self._fetch(key, what, about, event.token)
        elif what == "import":
            answer = self._import(key, about, text, tab_of(request))
        draft = self.services.drafts.read(key)
        if what == "export":
            answer = _export(draft)
        settings = settings_fold(draft, event.open, answer)
        return self._choices(draft, named, event if event.count else None) | {self.settings: settings}

    # ---------------------------------------------------------------- within
    def _take_base(self, key: str, model: str, tab: str) -> Base | None:
        """Take the base that somebody has named; it is returned where it cannot be taken as it is."""
        base = self.services.bases.look(model)
        if not model.strip():
            return None
        if base.problem:
            return base
        self.services.drafts.change(key, lambda draft: with_choices(draft, base=base.model), tab)
        return None

    def _fetch(self, key: str, what: str, model: str, token: str) -> None:
        if what == "again":
            self.services.bases.found(again=True)
        elif what == "cancel-download":
            self.services.downloads.stop(model, key)
        elif HUB_ID.fullmatch(model):
            self.services.downloads.start(model, key, token[:MOST_TOKEN])

    def _import(self, key: str, name: str, content: str, tab: str) -> Answer:
        try:
            if len(content) > MOST_TOML:
                raise VelaturaError(words.TOO_LONG)
            table = tomllib.loads(content)
            self.services.drafts.change(key, lambda draft: from_table(draft, table), tab)
        except (tomllib.TOMLDecodeError, VelaturaError) as error:
            return Answer(refused=words.NOT_IMPORTED.format(name, error))
        return Answer(done=words.IMPORTED.format(name))

    def _choices(self, draft: Draft, answer: Base | None = None, kept: StyleAction | None = None) -> Shown:
        services = self.services
        busy = any(services.downloads.look(model).busy for model in services.downloads.models())
        base = services.bases.look(draft.choices.base)
        sheet = render(
            "train/choices.html",
            aims=style_view.read_aims(draft),
            is_subject=draft.choices.aim == "subject",
            presets=style_view.read_presets(draft, services.measured.costs(draft)),
            methods=style_view.read_methods(draft, base),
            techniques=read_techniques(draft, base),
            base=base,
            facts=base_view.base_facts(base),
            panel=base_view.read_panel(draft.choices.base, services.bases, services.downloads),
            answer=answer,
            kept=kept,
        )
        return {self.choices: sheet, self.timer: gr.Timer(active=busy)}


def _turn(draft: Draft, name: str, text: str) -> Draft:
    return turned(draft, BY_NAME[name], text == "on") if name in BY_NAME else draft


def _write(draft: Draft, name: str, text: str) -> Draft:
    return with_words(draft, BY_NAME[name], text) if name in BY_NAME else draft


def _export(draft: Draft) -> Answer:
    try:
        config = plan(draft)
    except VelaturaError as error:
        return Answer(refused=as_sentence(error))
    return Answer(file=SettingsFile(config.name, dump_config(config), f"{time.time():.3f}"))
