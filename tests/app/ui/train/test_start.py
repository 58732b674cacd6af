"""The third step of Train: what a start that was refused leaves on the page."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from app.studio.paths import Paths
from app.studio.services import open_services
from app.ui.train.events import StartPressed
from app.ui.train.start import StartStep


def test_why_it_did_not_start_stays_while_the_measuring_is_looked_at(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "outputs")
    paths.make()
    services = open_services(paths, tmp_path / "uploads")
    with gr.Blocks():
        step = StartStep(services)
    request = SimpleNamespace(username="", cookies={}, session_hash="a page")
    shown = step.on_start_pressed(StartPressed(mark="a start"), request)
    assert 'role="alert"' in shown[step.foot] and "Add at least one picture first." in shown[step.foot]
    later = step.ticked(request)
    assert step.sheet in later and step.foot not in later
    services.close()
