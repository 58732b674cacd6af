"""What a page's script says becomes an event, or nothing at all."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, Literal

import gradio as gr
import pytest
from pydantic import Field

from app.ui.components.events import Id, PageEvent, Typed, Whole, at_most, read_event, wire


class Pressed(PageEvent):
    what: Literal["keep", "drop"]
    about: Id = ""
    text: Typed = ""
    name: str = ""
    count: Whole = 0
    each: bool = False
    files: tuple[Id, ...] = Field((), max_length=2)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({}, {}),
        ({"count": -3, "each": True, "text": "é ${1}", "files": ["a", "b"]}, {"files": ("a", "b")}),
        ({"text": "x" * 20_000, "about": "y" * 200}, {"text": "x" * 10_000, "about": "y" * 100}),
    ],
)
def test_what_a_script_of_ours_says_is_read(said: dict[str, Any], read: dict[str, Any]) -> None:
    event = read_event("pressed", Pressed, {"what": "keep"} | said)
    assert event is not None and event.model_dump(exclude_unset=True) == {"what": "keep"} | said | read


@pytest.mark.parametrize(
    "said",
    [
        *(None, [], 3, "keep", {}, {"what": "burn"}, {"what": ["keep"]}, {"what": "keep", "more": 1}),
        *({"what": "keep", "count": count} for count in ("3", 3.5, True, 2**60, 1e300, None)),
        *({"what": "keep", "text": text} for text in (3, None, ["x"], "\ud800")),
        *({"what": "keep", "each": each} for each in (1, "on", None)),
        *({"what": "keep", "files": files} for files in ("ab", {"0": "a"}, ["a"] * 3, [["a"]])),
        {"what": "keep", "name": "x" * 10_001},
    ],
)
def test_anything_else_is_passed_over_with_a_line_in_the_log(said: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_event("pressed", Pressed, said) is None
    (record,) = caplog.records
    assert "no pressed event" in record.getMessage() and len(record.getMessage()) < 500
    assert "\n" not in record.getMessage()


def test_the_log_names_the_field_and_not_what_was_typed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_event("pressed", Pressed, {"what": "keep", "count": "my secret"})
    assert "count: Input should be a valid integer" in caplog.text and "secret" not in caplog.text


def test_a_deep_thing_is_no_event():
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert read_event("pressed", Pressed, {"what": "keep", "text": deep}) is None


def test_a_page_answers_what_it_understands_and_nothing_else():
    class Page:
        def on_pressed(self, event: Pressed, request: gr.Request, state: str) -> dict[Any, Any]:
            """Show it."""
            return {shown: f"{event.what} {state} {request.username}"}

    with gr.Blocks() as demo:
        part, shown, state = gr.HTML(js_on_load="trigger('pressed', {})"), gr.HTML(), gr.Textbox()
        wire(part, {"pressed": Pressed}, Page(), [state], [shown, state], queue=False)
    (function,) = demo.fns.values()
    assert function.targets == [(part._id, "pressed")] and not function.queue and function.fn is not None
    ann: Any = SimpleNamespace(username="ann", cookies={}, session_hash="")
    assert function.fn(ann, gr.EventData(None, {"what": "keep"}), "open") == {shown: "keep open ann"}
    assert function.fn(ann, gr.EventData(None, {"what": "burn"}), "open") == gr.skip()


def test_no_more_than_so_many_events_are_answered_at_once():
    limited, inside, most = at_most(2), [0], [0]
    lock, two = threading.Lock(), threading.Barrier(2)

    def answer(number: int) -> int:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        two.wait(60)  # both of a pair are here
        with lock:
            inside[0] -= 1
        return number

    first, second = limited(answer), limited(answer)
    with ThreadPoolExecutor(6) as people:
        answers = list(people.map(lambda number: (first, second)[number % 2](number), range(6)))
    assert answers == [0, 1, 2, 3, 4, 5] and most == [2]
