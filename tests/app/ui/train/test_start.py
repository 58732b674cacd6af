"""The second and third step of Train: what a start that was refused leaves on the page, and what is known of times."""

from __future__ import annotations

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.store import TRAIN
from app.studio.dataset.uploads import take_folder
from app.studio.programs.targets import TRY
from app.studio.runs import estimate_jobs
from app.studio.runs.estimate_jobs import Estimate
from app.studio.runs.estimates import Cost, Pace, pace_key, work_of
from app.studio.runs.start import start_run
from app.studio.services import Services
from app.studio.settings.own_presets import as_preset
from app.studio.settings.plan import choose, plan, with_settings
from app.ui.components.events import actor_of
from app.ui.components.runs.run_view import kind
from app.ui.train import start
from app.ui.train.events import StartAction, StartPressed, StepShown, SweepPressed
from app.ui.train.start import StartStep
from app.ui.train.style import StyleStep
from tests.trainers.tiny_runs import write_images
from trainers.errors import REFUSED

pytestmark = pytest.mark.slow

REQUEST = SimpleNamespace(username="", cookies={}, session_hash="a page")


@pytest.fixture
def step(services: Services) -> StartStep:
    services.preferences.change(actor_of(REQUEST).key, program=TRY)
    with gr.Blocks():
        return StartStep(services)


def test_settings_with_which_measuring_has_failed_are_not_started(step, tmp_path, monkeypatch) -> None:
    take_folder(step.services.drafts, actor_of(REQUEST).key, write_images(tmp_path / "images"))
    found = Estimate("failed", sentence="The base has no such layer.", code=REFUSED)
    monkeypatch.setattr(step.services.estimate_jobs, "look", lambda *_: found)
    shown = step.on_start_pressed(StartPressed(mark="a start"), REQUEST)
    assert "The base has no such layer." in shown[step.foot] and "Back to the settings" in shown[step.sheet]
    assert not step.services.queue.store.exists() or step.services.queue.store.jobs() == []


@pytest.mark.parametrize("several", [False, True])
def test_a_start_that_is_pressed_again_while_it_goes_on_is_done_once(step, tmp_path, monkeypatch, several) -> None:
    take_folder(step.services.drafts, actor_of(REQUEST).key, write_images(tmp_path / "images"))
    press, begin = step.on_start_pressed, "start_run"
    event = StartPressed(mark="a start", name="dusk")
    if several:
        press, begin = step.on_sweep_pressed, "start_method_sweep"
        event = SweepPressed(mark="a start", name="dusk", methods=("lora", "loha"))
    starts: list[str] = []
    under_way = threading.Event()

    def slowly(*given: Any) -> Any:
        starts.append("one")
        under_way.set()
        time.sleep(0.2)  # the second press comes meanwhile
        return real(*given)

    real = getattr(start, begin)
    monkeypatch.setattr(start, begin, slowly)

    def press_again() -> Any:
        under_way.wait()
        return press(event, REQUEST)

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.submit(press, event, REQUEST), threads.submit(press_again)
    assert first.result()[step.foot] == second.result()[step.foot] and len(starts) == 1
    assert len(step.services.queue.store.jobs()) == len(event.methods if several else "1")


def test_what_was_started_is_not_begun_again_by_accident(step, tmp_path) -> None:
    take_folder(step.services.drafts, actor_of(REQUEST).key, write_images(tmp_path / "images"))
    begin, again = 'class="go" data-start', 'class="quiet" data-start'
    seen = StepShown(step="start")
    assert begin in step.on_step_shown(seen, REQUEST)[step.foot]
    step.on_start_pressed(StartPressed(mark="a start", name="dusk"), REQUEST)
    foot = step.on_step_shown(seen, REQUEST)[step.foot]
    assert again in foot and "Started as “dusk”." in foot and 'class="go" href="run?id=dusk"' in foot
    changed = step.on_asked(StartAction(what="prompts", text="a fox"), REQUEST)[step.foot]
    assert begin in changed and "Started as" not in changed
    step.on_start_pressed(StartPressed(mark="another", name="dusk", prompts="a fox"), REQUEST)
    foot = step.on_step_shown(seen, REQUEST)[step.foot]
    assert again in foot and 'href="run?id=dusk%202"' in foot
    queue = step.services.queue
    number = queue.number("dusk 2", actor=MACHINE_OWNER)
    actions.stop(queue.store, number, "cancel", actor=MACHINE_OWNER)
    queue.delete(number, actor=MACHINE_OWNER)
    assert begin in step.on_step_shown(seen, REQUEST)[step.foot]


def test_only_the_answer_to_a_start_of_several_lets_it_be_pressed_again(step, tmp_path) -> None:
    take_folder(step.services.drafts, actor_of(REQUEST).key, write_images(tmp_path / "images"))
    refused = step.on_sweep_pressed(SweepPressed(mark="a start", name="dusk", methods=("lora",)), REQUEST)
    assert "at least two runs" in refused[step.foot] and 'data-answer="a start"' in refused[step.several]
    typed = step.on_asked(StartAction(what="name", text="dawn"), REQUEST)
    assert 'data-answer=""' in typed[step.several], "the page goes on waiting"


def test_why_it_did_not_start_stays_while_the_measuring_is_looked_at(step) -> None:
    shown = step.on_start_pressed(StartPressed(mark="a start"), REQUEST)
    assert 'role="alert"' in shown[step.foot] and "Add at least one picture first." in shown[step.foot]
    later = step.refresh(REQUEST)
    assert step.sheet in later and step.foot not in later


def known_pace(step: StartStep, tmp_path: Path, load: float) -> None:
    """Some pictures, and a measurement on their base with other settings, made at this load."""
    draft = take_folder(step.services.drafts, actor_of(REQUEST).key, write_images(tmp_path / "images"))
    config = plan(choose(draft, "preset", "quick"), name="style")
    pace = Pace(pace_key(config), work_of(config), 0.5, 20.0, time.time(), load)
    step.services.measured.keep(config, 0, Cost(40.0, 1, 1, 1, pace=pace))


def test_the_time_that_the_second_step_knows_stands_there_until_it_is_measured(step, tmp_path) -> None:
    known_pace(step, tmp_path, load=0.0)
    assert re.search(r"<dt>Time</dt><dd>about [\d.]+ min", step.refresh(REQUEST)[step.sheet])


def test_the_second_step_measures_again_once_a_busy_computer_is_quieter(step, tmp_path, monkeypatch) -> None:
    known_pace(step, tmp_path, load=4.0)
    with gr.Blocks():
        style = StyleStep(step.services)
    for load, measuring in ((3.0, 0), (0.2, 1), (0.2, 1)):
        monkeypatch.setattr(estimate_jobs, "load_now", lambda load=load: load)
        shown = style.refresh(REQUEST)
        assert len(step.services.queue.small_jobs()) == measuring
        assert shown[style.refresher.part].endswith("-->1" if measuring else "-->30")


@pytest.mark.parametrize("kind", [StyleStep, StartStep])
def test_a_measurement_that_nobody_looked_at_for_long_begins_again_when_its_page_is_seen(
    services: Services, tmp_path: Path, kind: Any
) -> None:
    services.preferences.change(actor_of(REQUEST).key, program=TRY)
    with gr.Blocks():
        step = kind(services)
    draft = take_folder(services.drafts, actor_of(REQUEST).key, write_images(tmp_path / "images"))
    step.refresh(REQUEST)
    (before,) = services.queue.small_jobs()
    record = services.paths.drafts / draft.id / "measuring.json"
    services.estimate_jobs.sweep()
    assert services.queue.small_jobs() == [before], "somebody has looked at it"
    os.utime(record, (0, 0))
    services.estimate_jobs.sweep()
    assert services.queue.small_jobs() == []
    step.refresh(REQUEST)
    assert [view.state for view in services.queue.small_jobs()] == ["queued"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 works on a card")
def test_what_cannot_be_trained_is_said_before_the_start_and_repaired_by_one_button(step, tmp_path) -> None:
    key = actor_of(REQUEST).key
    take_folder(step.services.drafts, key, write_images(tmp_path / "images"))
    kohya = {"train.precision": "fp16", "data.resolution": 512, "train.optimizer": "paged-adamw"}
    step.services.drafts.change(key, lambda draft: with_settings(draft, kohya))
    shown = step.on_step_shown(StepShown(step="start"), REQUEST)
    for repair in ("fp16 → auto on this computer", "512 → 128 on the starter", "paged-adamw → adamw on this computer"):
        assert repair in shown[step.sheet]
    assert step.services.queue.small_jobs() == [], "what cannot be trained is not measured"
    refused = step.on_start_pressed(StartPressed(mark="a start"), REQUEST)
    assert "train.precision = fp16 does not work on a CPU; use bf16 or fp32." in refused[step.foot]
    assert not step.services.queue.store.exists() or step.services.queue.store.jobs() == []
    for setting in kohya:
        shown = step.on_asked(StartAction(what="repair", about=setting), REQUEST)
    assert "→" not in shown[step.sheet]
    config = plan(step.services.drafts.read(key))
    assert (config.train.precision, config.train.optimizer, config.data.resolution) == ("auto", "adamw", 0)
    step.on_start_pressed(StartPressed(mark="another"), REQUEST)
    assert len([job for job in step.services.queue.store.jobs() if job.kind == TRAIN]) == 1


def test_a_chosen_preset_of_ones_own_keeps_its_name(step, tmp_path) -> None:
    key, services = actor_of(REQUEST).key, step.services
    drafts = services.drafts
    take_folder(drafts, key, write_images(tmp_path / "images"))
    changes = {"method.rank": 12, "train.steps": 60}
    services.presets.save("", "My kohya 12", as_preset(with_settings(drafts.read(key), changes)))
    drafts.change(key, services.presets.find("", "My kohya 12").use)
    shown = step.on_step_shown(StepShown(step="start"), REQUEST)[step.sheet]
    assert "a style · My kohya 12 · Velatura starter" in shown and "changed" not in shown
    drafts.change(key, lambda draft: with_settings(draft, {"train.steps": 70}))
    shown = step.on_step_shown(StepShown(step="start"), REQUEST)[step.sheet]
    assert "My kohya 12" in shown and "1 setting changed" in shown
    run = start_run(services.queue, drafts, drafts.read(key), MACHINE_OWNER)
    assert kind(services.queue.find(run.name), MACHINE_OWNER).startswith("My kohya 12 · 1 setting changed · LoRA 12")
    drafts.change(key, lambda draft: choose(draft, "preset", "quick"))
    shown = step.on_step_shown(StepShown(step="start"), REQUEST)[step.sheet]
    assert "My kohya 12" not in shown
