"""The shell of every page: the bar with links to the pages, the state of the computer and the theme."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.language import translate
from app.studio.studio_queue import StudioQueue
from app.ui.components import text as words
from app.ui.components.events import wire
from app.ui.components.live import AtRequest, at_request, html
from app.ui.components.undo_strip import EVENTS, UndoStrip
from app.ui.document.assets import run_scripts
from app.ui.document.icons import ICONS
from app.ui.document.templates import render
from app.ui.pages import PAGES

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Options of all listeners: not in the API, and no spinner over the content."""
AT_ONCE: dict[str, Any] = PRIVATE | {"queue": False}
"""Options of refreshes, which bypass Gradio's queue. Events during a request are dropped.

The queue sends results on a stream that ends with the last event; an event at that moment could wait forever.
"""
EACH: dict[str, Any] = AT_ONCE | {"trigger_mode": "multiple"}
"""Options of actions of people, none of which may be dropped."""


def scripted_part(
    value: Any, script: str | tuple[str, ...], frame: str | AtRequest = "<div></div>", **properties: Any
) -> gr.HTML:
    """HTML that a script draws from the value, so that typed text and open menus survive updates.

    `frame` is drawn once and never evaluated with people's text. `script` may be several that build on each other;
    they read `properties` as `props`.
    """
    ours = run_scripts(*((script,) if isinstance(script, str) else script))
    properties = at_request(properties)
    return html(at_request(value), html_template=frame, js_on_load=ours, apply_default_css=False, **properties)


def build_shell(here: str, queue: StudioQueue, under: str = "") -> None:
    """Build the bar, at the top or on phones at the bottom, and the strip that undoes the last action.

    The bar has plain links. A page without one of its own highlights that of the page `under` which it is.
    """
    title = next(page.title for page in PAGES if page.title == here)
    gr.Navbar(visible=False)
    scripted_part(
        "",
        (
            *("components/now.js", "components/offline.js", "components/announce.js"),
            *("components/light_dismiss.js", "components/bar.js", "components/shell.js"),
        ),
        AtRequest(render, "components/shell.html", here=under or here, pages=PAGES, user=None),
        elem_id="shell",
        page=AtRequest(lambda: f"{translate(title)} · {words.PRODUCT}"),
        words=words.SHELL,
        login={"account": words.ACCOUNT, "label": words.LOG_OUT_AS, "icon": str(ICONS["out"])},
    )
    frame = AtRequest(render, "components/undo_strip.html")
    strip = scripted_part({}, "components/undo_strip.js", frame, elem_id="undo-strip")
    wire(strip, EVENTS, UndoStrip(queue), None, [strip], **EACH)
