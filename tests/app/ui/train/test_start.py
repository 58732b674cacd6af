"""The third step of Train: what a start that was refused leaves on the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from app.studio.dataset.uploads import take_folder
from app.studio.paths import Paths
from app.studio.runs.estimate_jobs import Estimate
from app.studio.services import open_services
from app.ui.components.events import key_of
from app.ui.train.events import StartPressed
from app.ui.train.start import StartStep
from tests.trainers.tiny_runs import write_images
from trainers.errors import REFUSED

REQUEST = SimpleNamespace(username="", cookies={}, session_hash="a page")


@pytest.fixture
def step(tmp_path: Path) -> Iterator[StartStep]:
    paths = Paths(tmp_path / "outputs")
    paths.make()
    services = open_services(paths, tmp_path / "uploads")
    with gr.Blocks():
        step = StartStep(services)
    yield step
    services.close()


def test_settings_with_which_measuring_has_failed_are_not_started(step, tmp_path, monkeypatch) -> None:
    take_folder(step.services.drafts, key_of(REQUEST), write_images(tmp_path / "images"))
    found = Estimate("failed", sentence="The base has no such layer.", code=REFUSED)
    monkeypatch.setattr(step.services.estimate_jobs, "look", lambda *_: found)
    shown = step.on_start_pressed(StartPressed(mark="a start"), REQUEST)
    assert "The base has no such layer." in shown[step.foot] and "Back to the settings" in shown[step.sheet]
    assert not step.services.queue.store.exists() or step.services.queue.store.jobs() == []


def test_why_it_did_not_start_stays_while_the_measuring_is_looked_at(step) -> None:
    shown = step.on_start_pressed(StartPressed(mark="a start"), REQUEST)
    assert 'role="alert"' in shown[step.foot] and "Add at least one picture first." in shown[step.foot]
    later = step.ticked(REQUEST)
    assert step.sheet in later and step.foot not in later
