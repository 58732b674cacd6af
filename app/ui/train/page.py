"""The page Train: three steps on one page, of which the address says which one is shown."""

from __future__ import annotations

import gradio as gr

from app.studio.services import Services
from app.ui.components import text as words
from app.ui.components.shell import build_shell, island
from app.ui.train import images, start, style
from app.ui.web.html import text


def build(services: Services, demo: gr.Blocks) -> None:
    """Lay the page out. `steps.shown` is called with `step` when a step comes into view."""
    build_shell("Train")
    steps = island(None, "train/steps.js", _frame(), elem_id="steps", steps=words.STEPS, hint=words.PICTURES_FIRST)
    with gr.Column(elem_id="step-pictures", elem_classes="step"):
        images.build(services, demo)
    with gr.Column(elem_id="step-style", elem_classes="step"):
        style.build(services, demo, steps)
    with gr.Column(elem_id="step-start", elem_classes="step"):
        start.build(services, demo, steps)


def _frame() -> str:
    links = "".join(
        f'<li><a href="#{name}"><i>{number}</i><span>{text(title)}</span></a></li>'
        for number, (name, title) in enumerate(words.STEPS, 1)
    )
    return (
        f'<nav class="steps" aria-label="{text(words.STEPS_LABEL)}"><p class="where" aria-hidden="true"></p>'
        f"<ol>{links}</ol></nav>"
    )
