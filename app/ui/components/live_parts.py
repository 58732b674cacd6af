"""Parts of a page that are read again after each change of the studio, and sent if they differ from the page.

A page sends the digests of its parts with each request, so the server keeps no state and a reload starts from nothing.
The response to a click contains all parts (`NOTHING_SEEN`): another request may overtake it, and a part that was the
same before the click would be missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import gradio as gr

from app.ui.components.live import versioned
from app.ui.components.shell import AT_ONCE, scripted_part
from app.ui.gradio_internals import listener_of

PAUSE = 5
"""Default minimum of seconds between two requests of a page."""
OUTDATED = "outdated"
"""The event of a refresher's script that requests the parts."""
NEVER = "0"
NOTHING_SEEN = "{}"
"""The digests of a page without parts."""
Shown = dict[Any, Any]
Listen = Callable[..., Any]


@dataclass(frozen=True)
class DeferredPart:
    """A part that is rendered only if its state differs from the page's."""

    state: object
    """The data that determine the part, compared by their `repr`."""
    make: Callable[[], str]


class Refresher:
    """The script that requests a page's parts after each change of the studio."""

    def __init__(self, on_every_step: bool = False) -> None:
        scripts = ("components/stale_guard.js", "components/refresh.js")
        self.part = scripted_part(NEVER, scripts, on_every_step=on_every_step)
        """On a page with steps, it only works while its step is visible, unless `on_every_step`."""

    def listen(self, look: Listen, inputs: Sequence[gr.Textbox | gr.HTML] | None, outputs: list[Any]) -> None:
        """Call `look` for each event of the script; its result includes a `pause`."""
        # The latest event is never dropped, since the next may be far away. It carries no data: Gradio would send those
        # of the first again.
        listener_of(self.part, OUTDATED)(look, inputs, outputs, **AT_ONCE | {"trigger_mode": "always_last"})

    def pause(self, seconds: float, began: int) -> Shown:
        """The minimum of seconds between two requests, 0 to stop them, with the version `began`."""
        return {self.part: versioned(f"{seconds:g}", began)}


class LiveParts:
    """The live parts of a page."""

    def __init__(self, parts: Mapping[str, gr.HTML]) -> None:
        self.parts = parts
        self.seen = gr.Textbox(NOTHING_SEEN, visible=False)
        """Digests of the page's parts, as JSON."""
        self.refresher = Refresher()
        self.outputs = [*parts.values(), self.seen, self.refresher.part]

    def listen(self, opening: Listen, look: Listen, inputs: Sequence[gr.Textbox | gr.HTML], outputs: list[Any]) -> None:
        """Call `look` on the event `opening` and after each change of the studio."""
        opening(look, inputs, outputs, **AT_ONCE)
        self.refresher.listen(look, inputs, outputs)

    def answer(self, seen: str, values: Mapping[str, str | DeferredPart], began: int, seconds: float = PAUSE) -> Shown:
        """The parts of `values`, which holds all, that differ from the digests `seen`.

        `seconds` is the minimum between two requests, 0 to stop them; `began` is the `now_us` before the data were
        read.
        """
        known, now = _read(seen), {name: digest(value) for name, value in values.items()}
        shown: Shown = {
            self.parts[name]: versioned(_make(values[name]), began)
            for name in self.parts.keys() | values.keys()  # raises KeyError for an unknown or missing part
            if known.get(name) != now[name]
        }
        return shown | ({self.seen: json.dumps(now)} if shown else {}) | self.refresher.pause(seconds, began)


def _make(value: str | DeferredPart) -> str:
    return value.make() if isinstance(value, DeferredPart) else value


def digest(value: str | DeferredPart) -> str:
    """A short digest of a part's value."""
    text = repr(value.state) if isinstance(value, DeferredPart) else value
    return sha256(text.encode()).hexdigest()[:12]


def _read(seen: str) -> dict[str, Any]:
    """The digests that a page sent; invalid ones count as none."""
    try:
        given = json.loads(seen)
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}
