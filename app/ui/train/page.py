"""The page Train: three steps; the address has the visible one."""

from __future__ import annotations

import gradio as gr

from app.studio.services import Services
from app.ui.components.live import AtRequest
from app.ui.components.shell import build_shell, scripted_part
from app.ui.document.templates import render
from app.ui.train import images, start, style
from app.ui.train import text as words


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out; a visible step triggers `steps.shown` with its `step`."""
    build_shell("Train", services.queue)
    frame = AtRequest(render, "train/steps.html")
    steps = scripted_part(None, "train/steps.js", frame, elem_id="steps", steps=words.STEPS, hint=words.PICTURES_FIRST)
    with gr.Column(elem_id="step-pictures", elem_classes="step"):
        images.build(services, demo, steps)
    with gr.Column(elem_id="step-style", elem_classes="step"):
        style.build(services, demo, steps)
    with gr.Column(elem_id="step-start", elem_classes="step"):
        start.build(services, demo, steps)
