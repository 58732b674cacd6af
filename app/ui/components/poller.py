"""Parts of a page that are looked at whenever the queue has changed, and sent where they are not what the page has.

What it has the page says itself with each look, so the server keeps nothing, and a reload begins anew. What somebody
does is answered with all parts (`NOTHING_SEEN`): while that answer is on its way the page may be shown another, and
what did not differ from what it had before would be missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import gradio as gr

from app.ui.components.live import stamped
from app.ui.components.shell import AT_ONCE, island
from app.ui.gradio_internals import listener_of

PACE = "pace"
"""Under this name a page says how often it may look, beside the names of its parts."""
TICKED = "ticked"
"""What the script of a poller triggers when it is time to look."""
NOTHING_SEEN = "{}"
"""What a page says that has no part yet."""
Shown = dict[Any, Any]
Listen = Callable[..., Any]


@dataclass(frozen=True)
class Lazy:
    """A part that is made only where its state is another one than the page has seen."""

    state: object
    """What the part follows from; of two that differ so do their `repr`."""
    make: Callable[[], str]


class Poller:
    """The parts of a page that it brings up to date, and the script that says when."""

    def __init__(self, parts: Mapping[str, gr.HTML]) -> None:
        self.parts = parts
        self.seen = gr.Textbox(NOTHING_SEEN, visible=False)
        """Digests of the parts that the page has, as JSON."""
        self.ticker = island("0", "components/ticker.js")
        """Its value is the seconds between two looks at least, 0 for no more looks, and when the last one began."""
        self.outputs = [*parts.values(), self.seen, self.ticker]

    def listen(self, opening: Listen, look: Listen, inputs: Sequence[gr.Textbox | gr.HTML], outputs: list[Any]) -> None:
        """Let `look` answer when `opening` has happened, and whenever the script says."""
        opening(look, inputs, outputs, **AT_ONCE)
        # The newest is never passed over: nothing else may happen for a long time. What a script says with an event
        # would be lost: Gradio sends that of the first once more.
        listener_of(self.ticker, TICKED)(look, inputs, outputs, **AT_ONCE | {"trigger_mode": "always_last"})

    def answer(self, seen: str, values: Mapping[str, str | Lazy], seconds: float, began: int) -> Shown:
        """The parts that differ from those of `seen`, and the pace where it is another.

        `seconds` are those between two looks at least, 0 for no more looks; `began` is the `moment` before
        anything of them was read.
        """
        known = _read(seen)
        now = {name: digest(value) for name, value in values.items()} | {PACE: f"{seconds:g}"}
        if known == now:
            return {self.seen: gr.skip()}
        shown: Shown = {
            self.parts[name]: stamped(value.make() if isinstance(value, Lazy) else value, began)
            for name, value in values.items()
            if known.get(name) != now[name]
        }
        if known.get(PACE) != now[PACE]:
            shown[self.ticker] = f"{now[PACE]} {began}"
        return shown | {self.seen: json.dumps(now)}


def digest(value: str | Lazy) -> str:
    """A short name for a part as it is now."""
    text = repr(value.state) if isinstance(value, Lazy) else value
    return sha256(text.encode()).hexdigest()[:12]


def _read(seen: str) -> dict[str, Any]:
    """What a page has seen; it comes from the browser and may be anything."""
    try:
        given = json.loads(seen)
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}
