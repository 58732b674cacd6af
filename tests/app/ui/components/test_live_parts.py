"""Parts of a page are sent where they are something else than the page has seen."""

from __future__ import annotations

import gradio as gr
import pytest

from app.ui.components.live_parts import DeferredPart, LiveParts


@pytest.fixture
def live() -> LiveParts:
    with gr.Blocks():
        return LiveParts({"head": gr.HTML(), "list": gr.HTML()})


def test_only_what_has_changed_is_sent(live: LiveParts) -> None:
    (head, listing), refresher = live.parts.values(), live.refresher.part
    first = live.answer("{}", {"head": "a", "list": "b"}, 7, 2)
    assert (first[head], first[listing], first[refresher]) == ("<!--7-->a", "<!--7-->b", "<!--7-->2")
    seen = first[live.seen]
    assert live.answer(seen, {"head": "a", "list": "b"}, 8, 0.5) == {refresher: "<!--8-->0.5"}
    second = live.answer(seen, {"head": "a", "list": "c"}, 9, 2)
    assert second.keys() == {listing, live.seen, refresher} and second[listing] == "<!--9-->c"
    assert live.answer(second[live.seen], {"head": "a", "list": "c"}, 9, 2) == {refresher: "<!--9-->2"}
    assert live.answer(seen, {"head": "a", "list": "c"}, 9, 2) == second, "what a page has not seen it gets again"


def test_an_answer_without_a_part_or_with_an_unknown_one_is_refused(live: LiveParts) -> None:
    with pytest.raises(KeyError, match="list"):
        live.answer("{}", {"head": "a"}, 7, 2)
    with pytest.raises(KeyError, match="foot"):
        live.answer("{}", {"head": "a", "list": "b", "foot": "c"}, 7, 2)


def test_a_lazy_part_is_made_only_where_its_state_has_changed(live: LiveParts) -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    values = {"head": DeferredPart(("a", 1), lambda: make("first")), "list": "b"}
    shown = live.answer("{}", values, 7, 2)
    assert made == ["first"] and shown[live.parts["head"]] == "<!--7-->first"
    live.answer(shown[live.seen], values, 7, 2)
    assert made == ["first"]
    live.answer(shown[live.seen], values | {"head": DeferredPart(("a", 2), lambda: make("second"))}, 7, 2)
    assert made == ["first", "second"]


@pytest.mark.parametrize("seen", ["", "no JSON", "[]", "3", "null", '{"head": 3}', "[" * 100_000])
def test_a_page_that_says_anything_else_gets_everything(live: LiveParts, seen: str) -> None:
    assert live.answer(seen, {"head": "a", "list": "b"}, 7, 2).keys() == {*live.outputs}


def test_what_it_looks_for_is_asked_at_the_opening_and_by_its_script() -> None:
    with gr.Blocks() as demo:
        live = LiveParts({"head": gr.HTML()})
        live.listen(demo.load, lambda seen: live.answer(seen, {"head": ""}, 7, 5), [live.seen], live.outputs)
    targets = [function.targets for function in demo.fns.values()]
    assert targets == [[(demo._id, "load")], [(live.refresher.part._id, "outdated")]]
    assert [function.trigger_mode for function in demo.fns.values()] == ["once", "always_last"]
    assert not any(function.queue for function in demo.fns.values())
