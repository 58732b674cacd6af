"""Messages: English sentences that keep their template and parameters."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest

from trainers.errors import VelaturaError
from trainers.messages import Message, either, from_record, joined, listed, plural, recorded, some, to_record


def test_a_message_is_its_english_sentence() -> None:
    said = Message("{name} has {count} layers", name="lora", count=3)
    assert said == "lora has 3 layers" and said.template == "{name} has {count} layers"
    assert json.dumps(said) == '"lora has 3 layers"'
    assert said.format(name="loha", count=1) == "loha has 1 layers"


def test_a_template_without_parameters_may_hold_braces() -> None:
    assert Message("{prompt}, in one word") == "{prompt}, in one word"


def test_the_count_decides_between_singular_and_plural() -> None:
    assert [plural("{count} step", "{count} steps", count) for count in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]
    assert plural("{count} step of {run}", "{count} steps of {run}", 5, run="a") == "5 steps of a"


def test_joined_messages_keep_their_parts_and_leave_out_the_empty_ones() -> None:
    parts = (Message("one"), "", Message("{n}", n=2))
    said = joined(", ", parts)
    assert said == "one, 2" and said.placed == (parts[0], parts[2])
    assert joined("{}", ("a", "b")) == "a{}b"


def test_several_parts_are_said_as_in_a_sentence() -> None:
    assert [listed(parts) for parts in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == ["", "a", "a and b", "a, b and c"]
    assert either(("a", "b", "c")) == "a, b or c"
    said = listed((Message("{n} steps", n=3), "b"))
    assert isinstance(said, Message) and said.template == "{before} and {last}"


def test_what_is_put_in_can_be_changed_afterwards() -> None:
    said = Message("{name} lacks {what}", name="a.b", what=Message("{}: {count}", "a.b", count=2))
    assert said.changed(lambda text: text.replace("a.b", "mine")) == "mine lacks mine: 2"
    assert said.changed(str.upper).template == said.template
    failed = Message("{path}: {error}, {count:,}", path=Path("/srv/ink"), error=OSError("no /srv/ink"), count=1000)
    assert failed.changed(lambda text: text.replace("/srv/", "")) == "ink: no ink, 1,000"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_keep_template_and_parameters(copied) -> None:
    said = copied(plural("{count} {what}", "{count} {what}s", 2, what=Message("fox")))
    assert said == "2 foxs" and (said.template, said.plural) == ("{count} {what}", "{count} {what}s")
    assert said.named["what"].template == "fox"


def test_a_record_gives_the_same_message_back() -> None:
    inner = Message("step {at}", at=3)
    said = Message("{0}: {inner} in {steps}", "run", inner=inner, steps=plural("a", "{count} b", 4))
    back = from_record(json.loads(json.dumps(to_record(said))))
    assert isinstance(back, Message) and back == said == "run: step 3 in 4 b"
    assert back.named["inner"].template == "step {at}" and to_record("plain") == "plain"


@pytest.mark.parametrize(
    "record",
    [
        3,
        {},
        {"template": "{0}", "placed": [], "named": {"b": "c"}},
        {"template": "{a.__class__}", "named": {"a": {"template": 1}}},
        {"template": "{a}", "named": {"a": [1]}},
        {"template": "{a}", "named": 7},
        {"template": "{a:>99999999999}", "named": {"a": "b"}},
        {"template": "{a:9999}", "named": {"a": "b"}},
        {"template": "", "placed": [1] * 101},
    ],
)
def test_what_is_no_record_is_refused(record) -> None:
    with pytest.raises(ValueError, match="message"):
        from_record(record)


@pytest.mark.parametrize(
    ("template", "parameter", "times"),
    [("{a}{a}", "fox", 20), ("{a}", "fox", 9), ("{a:99}" * 300, "x" * 99, 1), ("{a}", "x" * 20_000, 1)],
)
def test_a_record_of_unbounded_length_is_no_message(template, parameter, times) -> None:
    record = parameter
    for _ in range(times):
        record = {"template": template, "named": {"a": record}}
    with pytest.raises(ValueError, match="message"):
        from_record(record)
    assert recorded(record, "as it was") == "as it was"


def test_what_has_no_record_keeps_its_text() -> None:
    assert recorded(None, "as it was") == "as it was"
    assert recorded(to_record(Message("{a}", a=1)), "1") == "1"


def test_records_reach_no_attributes() -> None:
    with pytest.raises(ValueError, match="message"):
        from_record({"template": "{a.__class__.__mro__}", "named": {"a": "b"}})


def test_a_text_gets_its_record_back_if_that_says_the_same() -> None:
    said = Message("{rate:g} at {step}", rate=0.5, step=3)
    assert recorded(to_record(said), said).named == {"rate": 0.5, "step": 3}
    for record in (None, 7, {}, to_record(said.format(rate=1, step=3)), {"template": "{a", "named": {"a": 1}}):
        back = recorded(record, str(said))
        assert back == said and back.template == said
    nan = to_record(Message("{}", float("nan")))
    assert json.loads(json.dumps(nan, allow_nan=False)) == {"template": "{}", "placed": ["nan"]}


def test_a_few_names_and_how_many_more() -> None:
    assert [some("abcde"[:count]) for count in (1, 2, 3, 5)] == ["a", "a and b", "a, b and c", "a, b, c and 2 more"]


def test_an_error_keeps_its_message() -> None:
    error = VelaturaError("there is no {what}", what="run")
    assert str(error) == "there is no run" and error.message.named == {"what": "run"}
    assert str(VelaturaError("in {braces}")) == "in {braces}"
    given = Message("{a}", a=1)
    assert VelaturaError(given).message is given
