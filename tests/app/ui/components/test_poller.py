"""Parts of a page are sent where they are something else than the page has seen, and the pace where it is another."""

from __future__ import annotations

import gradio as gr
import pytest

from app.ui.components.poller import Lazy, Poller


@pytest.fixture
def poller() -> Poller:
    with gr.Blocks():
        return Poller({"head": gr.HTML(), "list": gr.HTML()})


def test_only_what_has_changed_is_sent(poller: Poller) -> None:
    head, listing = poller.parts.values()
    first = poller.answer("{}", {"head": "a", "list": "b"}, 2, 7)
    assert (first[head], first[listing], first[poller.ticker]) == ("<!--7-->a", "<!--7-->b", "2 7")
    seen = first[poller.seen]
    assert poller.answer(seen, {"head": "a", "list": "b"}, 2, 7) == {poller.seen: gr.skip()}
    second = poller.answer(seen, {"head": "a", "list": "c"}, 2, 7)
    assert second.keys() == {listing, poller.seen} and second[listing] == "<!--7-->c"
    assert poller.answer(second[poller.seen], {"head": "a", "list": "c"}, 2, 7) == {poller.seen: gr.skip()}
    assert poller.answer(seen, {"head": "a", "list": "c"}, 2, 7) == second, "what a page has not seen it gets again"


def test_the_pace_is_sent_where_it_changes(poller: Poller) -> None:
    values = {"head": "a", "list": "b"}
    seen = poller.answer("{}", values, 2, 7)[poller.seen]
    slower = poller.answer(seen, values, 15, 7)
    assert slower.keys() == {poller.ticker, poller.seen} and slower[poller.ticker] == "15 7"
    ended = poller.answer(slower[poller.seen], values, 0, 7)
    assert ended[poller.ticker] == "0 7" and poller.answer(ended[poller.seen], values, 0, 7) == {poller.seen: gr.skip()}
    assert poller.answer(ended[poller.seen], values, 0.5, 7)[poller.ticker] == "0.5 7"


def test_a_lazy_part_is_made_only_where_its_state_has_changed(poller: Poller) -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    values = {"head": Lazy(("a", 1), lambda: make("first")), "list": "b"}
    shown = poller.answer("{}", values, 2, 7)
    assert made == ["first"] and shown[poller.parts["head"]] == "<!--7-->first"
    poller.answer(shown[poller.seen], values, 2, 7)
    assert made == ["first"]
    poller.answer(shown[poller.seen], values | {"head": Lazy(("a", 2), lambda: make("second"))}, 2, 7)
    assert made == ["first", "second"]


@pytest.mark.parametrize("seen", ["", "no JSON", "[]", "3", "null", '{"head": 3}', "[" * 100_000])
def test_a_page_that_says_anything_else_gets_everything(poller: Poller, seen: str) -> None:
    assert poller.answer(seen, {"head": "a", "list": "b"}, 2, 7).keys() == {*poller.outputs}


def test_what_it_looks_for_is_asked_at_the_opening_and_by_its_script() -> None:
    with gr.Blocks() as demo:
        poller = Poller({"head": gr.HTML()})
        poller.listen(demo.load, lambda seen: poller.answer(seen, {"head": ""}, 5, 7), [poller.seen], poller.outputs)
    targets = [function.targets for function in demo.fns.values()]
    assert targets == [[(demo._id, "load")], [(poller.ticker._id, "ticked")]]
    assert [function.trigger_mode for function in demo.fns.values()] == ["once", "always_last"]
    assert not any(function.queue for function in demo.fns.values())
