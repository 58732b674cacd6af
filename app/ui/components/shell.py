"""What every page has around it: the bar with the pages, the state of the computer, light and dark."""

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
"""For listeners of ours: not part of the API, and no spinner over the content."""
AT_ONCE: dict[str, Any] = PRIVATE | {"queue": False}
"""For timers, which are answered at once. What comes while an answer is on its way is passed over.

Nothing of ours waits in Gradio's queue, whose answers come on a stream of their own: it ends with the last event, and
an event that is sent at that moment may wait for its answer for ever.
"""
EACH: dict[str, Any] = AT_ONCE | {"trigger_mode": "multiple"}
"""For what people do, of which nothing may be lost, however fast it comes and however slow the line is."""


def scripted_part(
    value: Any, script: str | tuple[str, ...], frame: str | AtRequest = "<div></div>", **properties: Any
) -> gr.HTML:
    """HTML that a script of ours draws from the value: what is typed and open in it outlives every update.

    `frame` is drawn once and never evaluated with anybody's words; `script` stands beside a page, as may several that
    build on each other; `properties` reach it as `props`.
    """
    ours = run_scripts(*((script,) if isinstance(script, str) else script))
    properties = at_request(properties)
    return html(at_request(value), html_template=frame, js_on_load=ours, apply_default_css=False, **properties)


def build_shell(here: str, queue: StudioQueue, under: str = "") -> None:
    """The bar at the top, and on phones at the bottom: plain links, so that the back button and new tabs work.

    Also the strip with the way back from what was done last.

    A page that has no link of its own says `under` which one it is found.
    """
    title = next(page.title for page in PAGES if page.title == here)
    gr.Navbar(visible=False)
    scripted_part(
        "",
        (
            *("components/now.js", "components/offline.js", "components/announce.js"),
            *("components/light_dismiss.js", "components/shell.js"),
        ),
        AtRequest(render, "components/shell.html", here=under or here, pages=PAGES),
        elem_id="shell",
        page=AtRequest(lambda: f"{translate(title)} · {words.PRODUCT}"),
        words=words.SHELL,
        login={"account": words.ACCOUNT, "label": words.LOG_OUT_AS, "icon": str(ICONS["out"])},
    )
    frame = AtRequest(render, "components/undo_strip.html")
    strip = scripted_part({}, "components/undo_strip.js", frame, elem_id="undo-strip")
    wire(strip, EVENTS, UndoStrip(queue), None, [strip], **EACH)
