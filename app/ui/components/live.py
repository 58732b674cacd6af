"""HTML that updates in place, and keeps open menus, typed text and focus."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import gradio as gr
from markupsafe import Markup

from app.language import translate
from app.ui.document.assets import run_scripts
from trainers.messages import Message

AnyText = TypeVar("AnyText", bound=str)
FRAME = Markup("<div></div>")
"""The element that contains a part's value."""


class AtRequest:
    """A text that is created when the page is sent, in the language of the request."""

    def __init__(self, make: Callable[..., str], *given: Any, **named: Any) -> None:
        self.make: Callable[[], str] = partial(make, *given, **named)

    def __str__(self) -> str:
        return self.make()


def at_request(value: Any) -> Any:
    """The value, with its messages translated when the page is sent."""
    if isinstance(value, Message):
        return AtRequest(translate, value)
    if isinstance(value, Mapping):
        return {key: at_request(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [at_request(item) for item in value]
    return value


html: Callable[..., gr.HTML] = gr.HTML
"""`gr.HTML`, untyped, as its texts may be an `AtRequest`."""


def block(value: str | AtRequest, **properties: Any) -> gr.HTML:
    """HTML whose value is a rendered template."""
    return html(value, apply_default_css=False, js_on_load=None, **properties)


def now_us() -> int:
    """Microseconds of the clock; call it before reading the data of a part."""
    return time.time_ns() // 1000


def versioned(value: AnyText, began: int) -> AnyText:
    """A part's value with its version, the `now_us` before its data were read.

    A page ignores a version older than the one it shows, since responses can overtake each other.
    """
    return type(value)(f"<!--{began}-->{value}")


def merged_part(*scripts: str, below: str | AtRequest = "", **properties: Any) -> gr.HTML:
    """A part whose new values are merged into the page node by node.

    `scripts` run with the part as `element` and can call `patch`. Keyed nodes (`data-key`) are moved, not redrawn. A
    `versioned` value is ignored if the page shows a newer one. The HTML `below`, from a template, is drawn once.
    """
    first = ("components/merge.js", "components/stale_guard.js", "components/patch.js")
    ours = run_scripts(*first, *scripts, "components/merged_part.js")
    frame = AtRequest(lambda: FRAME + Markup(below))
    return html("", html_template=frame, js_on_load=ours, apply_default_css=False, **at_request(properties))
