"""Parts of a page that are looked at again and again, and sent where they are something else than the page has seen.

What it has seen the page says itself with each look, so the server keeps nothing, and a reload begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import gradio as gr

from app.ui.components.shell import AT_ONCE

PACE = "pace"
"""Under this name a page says how often it looks, beside the names of its parts."""
Shown = dict[Any, Any]
Listen = Callable[..., Any]


@dataclass(frozen=True)
class Lazy:
    """A part that is made only where its state is another one than the page has seen."""

    state: object
    """What the part follows from; of two that differ so do their `repr`."""
    make: Callable[[], str]


class Poller:
    """The timer of a page, and the parts that it brings up to date."""

    def __init__(self, parts: Mapping[str, gr.HTML], seconds: float, active: bool = True) -> None:
        self.parts = parts
        self.seen = gr.Textbox("{}", visible=False)
        """Digests of the parts that the page has, as JSON."""
        self.timer = gr.Timer(seconds, active=active)
        self.outputs = [*parts.values(), self.seen, self.timer]

    def listen(self, opening: Listen, look: Listen, inputs: list[gr.Textbox], outputs: list[Any]) -> None:
        """Let `look` answer when `opening` has happened, and whenever the timer says."""
        for listen in (opening, self.timer.tick):
            listen(look, inputs, outputs, **AT_ONCE)

    def answer(self, seen: str, values: Mapping[str, str | Lazy], seconds: float, restart: bool = False) -> Shown:
        """The parts that differ from those of `seen`, and the timer where the next look is not as far away as it was.

        `seconds` are those to the next look, 0 for none. With `restart` the timer is set in any case.
        """
        known = _read(seen)
        now = {name: digest(value) for name, value in values.items()} | {PACE: f"{seconds:g}"}
        if restart:
            known.pop(PACE, None)
        if known == now:
            return {self.seen: gr.skip()}
        shown: Shown = {
            self.parts[name]: value.make() if isinstance(value, Lazy) else value
            for name, value in values.items()
            if known.get(name) != now[name]
        }
        if known.get(PACE) != now[PACE]:
            shown[self.timer] = gr.Timer(seconds, active=True) if seconds else gr.Timer(active=False)
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
