"""HTML that is brought up to date in place: what is open, typed in or focused stays as it is."""

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
"""What the value of a part is drawn into."""


class AtRequest:
    """A text of a page that is made when the page is sent, in the language of whoever asks."""

    def __init__(self, make: Callable[..., str], *given: Any, **named: Any) -> None:
        self.make: Callable[[], str] = partial(make, *given, **named)

    def __str__(self) -> str:
        return self.make()


def at_request(value: Any) -> Any:
    """The same value with every message in it translated when the page is sent."""
    if isinstance(value, Message):
        return AtRequest(translate, value)
    if isinstance(value, Mapping):
        return {key: at_request(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [at_request(each) for each in value]
    return value


html: Callable[..., gr.HTML] = gr.HTML
"""`gr.HTML`, of which only pages see the texts, so that those may be an `AtRequest`."""


def block(value: str | AtRequest, **properties: Any) -> gr.HTML:
    """HTML of ours whose value is shown as it is: what a template has made."""
    return html(value, apply_default_css=False, js_on_load=None, **properties)


def now_us() -> int:
    """Microseconds by the clock; to be asked before anything is read of what a part is made of."""
    return time.time_ns() // 1000


def versioned(value: AnyText, began: int) -> AnyText:
    """A part's value with its version: the `now_us` before anything that it is made of was read.

    A page passes over an older version than it shows: answers overtake each other on their way.
    """
    return type(value)(f"<!--{began}-->{value}")


def merged_part(*scripts: str, below: str | AtRequest = "", **properties: Any) -> gr.HTML:
    """A part whose value is patched in, node by node; `scripts` stand beside the pages and listen to it.

    They find the part as `element` and may call `patch`; keyed nodes (`data-key`) are moved, not redrawn. A value that
    is `versioned` is passed over where a newer one is shown. What stands `below`, made by a template, is drawn once and
    left alone.
    """
    first = ("components/merge.js", "components/stale_guard.js", "components/patch.js")
    ours = run_scripts(*first, *scripts, "components/merged_part.js")
    frame = AtRequest(lambda: FRAME + Markup(below))
    return html("", html_template=frame, js_on_load=ours, apply_default_css=False, **at_request(properties))
