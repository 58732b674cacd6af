"""Parts of a page that are looked at whenever the studio has changed, and sent where they are not what the page has.

A page sends the digests of its parts with each look, so the server keeps no state and a reload begins anew. The answer
to a click holds all parts (`NOTHING_SEEN`): a look may overtake it, and a part that had not differed before the click
would be missing.
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
"""Seconds between two looks of a page at least, where it says nothing else."""
OUTDATED = "outdated"
"""The event that the script of a refresher triggers when it is time to look."""
NEVER = "0"
NOTHING_SEEN = "{}"
"""The digests of a page that has no part yet."""
Shown = dict[Any, Any]
Listen = Callable[..., Any]


@dataclass(frozen=True)
class DeferredPart:
    """A part that is made only where its state is another one than the page has seen."""

    state: object
    """The data that decide the part; different data differ in their `repr`."""
    make: Callable[[], str]


class Refresher:
    """The script that has a page look again whenever the studio has changed since what it shows."""

    def __init__(self, on_every_step: bool = False) -> None:
        scripts = ("components/stale_guard.js", "components/refresh.js")
        self.part = scripted_part(NEVER, scripts, on_every_step=on_every_step)
        """Of a page with steps only the one that is seen looks, unless it looks `on_every_step`."""

    def listen(self, look: Listen, inputs: Sequence[gr.Textbox | gr.HTML] | None, outputs: list[Any]) -> None:
        """Let `look` answer whenever the script says, with a `pause` among what it shows."""
        # The newest is never passed over: nothing else may happen for a long time. What a script says with an event
        # would be lost: Gradio sends that of the first once more.
        listener_of(self.part, OUTDATED)(look, inputs, outputs, **AT_ONCE | {"trigger_mode": "always_last"})

    def pause(self, seconds: float, began: int) -> Shown:
        """The least number of seconds between two looks, 0 for no more looks, with the version `began`."""
        return {self.part: versioned(f"{seconds:g}", began)}


class LiveParts:
    """The parts of a page that it brings up to date."""

    def __init__(self, parts: Mapping[str, gr.HTML]) -> None:
        self.parts = parts
        self.seen = gr.Textbox(NOTHING_SEEN, visible=False)
        """Digests of the parts that the page has, as JSON."""
        self.refresher = Refresher()
        self.outputs = [*parts.values(), self.seen, self.refresher.part]

    def listen(self, opening: Listen, look: Listen, inputs: Sequence[gr.Textbox | gr.HTML], outputs: list[Any]) -> None:
        """Let `look` answer when `opening` has happened, and whenever something has changed."""
        opening(look, inputs, outputs, **AT_ONCE)
        self.refresher.listen(look, inputs, outputs)

    def answer(self, seen: str, values: Mapping[str, str | DeferredPart], began: int, seconds: float = PAUSE) -> Shown:
        """The parts that differ from those of `seen`; `values` holds every part.

        `seconds` are those between two looks at least, 0 for no more looks; `began` is the `now_us` before
        anything of them was read.
        """
        known, now = _read(seen), {name: digest(value) for name, value in values.items()}
        shown: Shown = {
            self.parts[name]: versioned(_make(values[name]), began)
            for name in self.parts.keys() | values.keys()  # a KeyError for one that is not among the others
            if known.get(name) != now[name]
        }
        return shown | ({self.seen: json.dumps(now)} if shown else {}) | self.refresher.pause(seconds, began)


def _make(value: str | DeferredPart) -> str:
    return value.make() if isinstance(value, DeferredPart) else value


def digest(value: str | DeferredPart) -> str:
    """A short name for a part as it is now."""
    text = repr(value.state) if isinstance(value, DeferredPart) else value
    return sha256(text.encode()).hexdigest()[:12]


def _read(seen: str) -> dict[str, Any]:
    """The digests that a page sends; a browser may send anything."""
    try:
        given = json.loads(seen)
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}
