"""Drawing with styles: empty until there is something to show."""

from __future__ import annotations

import gradio as gr

from app.ui import words
from app.ui.html import empty_page
from app.ui.parts import Studio
from app.ui.shell import block, build_shell


def build(studio: Studio, demo: gr.Blocks) -> None:
    """Lay the page out."""
    build_shell("Playground")
    title, lead = words.EMPTY["Playground"]
    block(empty_page(title, lead, words.FIRST_STYLE, "./"))
