"""The finished styles: empty until there is something to show."""

from __future__ import annotations

import gradio as gr

from app.ui import words
from app.ui.html import empty_page
from app.ui.parts import Studio
from app.ui.shell import block, build_shell


def build(studio: Studio, demo: gr.Blocks) -> None:
    """Lay the page out."""
    build_shell("Styles")
    title, lead = words.EMPTY["Styles"]
    block(empty_page(title, lead, words.FIRST_STYLE, "./"))
