"""Parts of a page are sent where they are something else than the page has seen."""

from __future__ import annotations

import gradio as gr
import pytest

from app.ui.components.poller import Lazy, Poller


@pytest.fixture
def poller() -> Poller:
    with gr.Blocks():
        return Poller({"head": gr.HTML(), "list": gr.HTML()})


def test_only_what_has_changed_is_sent(poller: Poller) -> None:
    (head, listing), ticker = poller.parts.values(), poller.ticker.part
    first = poller.answer("{}", {"head": "a", "list": "b"}, 7, 2)
    assert (first[head], first[listing], first[ticker]) == ("<!--7-->a", "<!--7-->b", "<!--7-->2")
    seen = first[poller.seen]
    assert poller.answer(seen, {"head": "a", "list": "b"}, 8, 0.5) == {ticker: "<!--8-->0.5"}
    second = poller.answer(seen, {"head": "a", "list": "c"}, 9, 2)
    assert second.keys() == {listing, poller.seen, ticker} and second[listing] == "<!--9-->c"
    assert poller.answer(second[poller.seen], {"head": "a", "list": "c"}, 9, 2) == {ticker: "<!--9-->2"}
    assert poller.answer(seen, {"head": "a", "list": "c"}, 9, 2) == second, "what a page has not seen it gets again"


def test_an_answer_without_a_part_is_refused(poller: Poller) -> None:
    with pytest.raises(KeyError, match="list"):
        poller.answer("{}", {"head": "a"}, 7, 2)


def test_a_lazy_part_is_made_only_where_its_state_has_changed(poller: Poller) -> None:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    values = {"head": Lazy(("a", 1), lambda: make("first")), "list": "b"}
    shown = poller.answer("{}", values, 7, 2)
    assert made == ["first"] and shown[poller.parts["head"]] == "<!--7-->first"
    poller.answer(shown[poller.seen], values, 7, 2)
    assert made == ["first"]
    poller.answer(shown[poller.seen], values | {"head": Lazy(("a", 2), lambda: make("second"))}, 7, 2)
    assert made == ["first", "second"]


@pytest.mark.parametrize("seen", ["", "no JSON", "[]", "3", "null", '{"head": 3}', "[" * 100_000])
def test_a_page_that_says_anything_else_gets_everything(poller: Poller, seen: str) -> None:
    assert poller.answer(seen, {"head": "a", "list": "b"}, 7, 2).keys() == {*poller.outputs}


def test_what_it_looks_for_is_asked_at_the_opening_and_by_its_script() -> None:
    with gr.Blocks() as demo:
        poller = Poller({"head": gr.HTML()})
        poller.listen(demo.load, lambda seen: poller.answer(seen, {"head": ""}, 7, 5), [poller.seen], poller.outputs)
    targets = [function.targets for function in demo.fns.values()]
    assert targets == [[(demo._id, "load")], [(poller.ticker.part._id, "ticked")]]
    assert [function.trigger_mode for function in demo.fns.values()] == ["once", "always_last"]
    assert not any(function.queue for function in demo.fns.values())
