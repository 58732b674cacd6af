"""HTML that is brought up to date in place: what is open, typed in or focused stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr
from markupsafe import Markup

from app.ui.document.assets import run_scripts

block: Callable[..., gr.HTML] = partial(gr.HTML, apply_default_css=False, js_on_load=None)
"""HTML of ours whose value is shown as it is: what a template has made."""
FRAME = Markup("<div></div>")
"""What the value of a part is drawn into."""


def patched(*scripts: str, below: str = "", **properties: Any) -> gr.HTML:
    """A part whose value is patched in, node by node; `scripts` stand beside the pages and listen to it.

    They find the part as `element` and may call `patch`; keyed nodes (`data-key`) are moved, not redrawn. What stands
    `below`, made by a template, is drawn once and left alone.
    """
    ours = run_scripts("components/merge.js", "components/patch.js", *scripts, "components/patched.js")
    return gr.HTML("", html_template=FRAME + below, js_on_load=ours, apply_default_css=False, **properties)
