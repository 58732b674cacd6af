"""Following events while they are written: each once and whole, whatever is cut and however often one looks."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.events.follow import Follower
from trainers.runs.events import Recorder, read_events

WORDS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)


@settings(max_examples=40)
@given(st.lists(WORDS, max_size=6), st.lists(st.integers(0, 400), max_size=8))
def test_wherever_the_writing_is_when_one_looks(tmp_path_factory, words, cuts):
    whole = tmp_path_factory.mktemp("whole")
    record = Recorder(whole)
    for word in words:
        record("note", message=word)
    data = (whole / "events.jsonl").read_bytes() if words else b""
    growing = tmp_path_factory.mktemp("growing")
    follower, seen = Follower(growing), []
    for cut in (*sorted(min(cut, len(data)) for cut in cuts), len(data)):
        (growing / "events.jsonl").write_bytes(data[:cut])
        seen += follower.read()
        assert follower.offset <= cut
    assert seen == list(read_events(whole)) and follower.offset == len(data)
    assert Follower(growing, follower.offset).read() == [] and Follower(growing).read() == seen


def test_a_line_that_a_kill_cut_short_costs_no_other(tmp_path):
    record, path = Recorder(tmp_path), tmp_path / "events.jsonl"
    record("note", message="Füchse")
    follower = Follower(tmp_path)
    assert len(follower.read()) == 1
    with path.open("ab") as file:
        file.write('{"type": "note", "message": "Fü'.encode()[:-1])
    assert follower.read() == []  # it may be on its way
    Recorder(tmp_path)("done", step=3)
    assert [event["type"] for event in follower.read()] == ["done"]


def test_a_file_that_was_replaced_is_read_from_its_start(tmp_path):
    path = tmp_path / "events.jsonl"
    follower = Follower(tmp_path)
    assert follower.read() == []  # not there yet
    path.write_text("".join(json.dumps({"type": "step", "step": step}) + "\n" for step in range(9)))
    assert [event["step"] for event in follower.read()] == list(range(9))
    path.write_text('{"type": "images"}\n')
    assert [event["type"] for event in follower.read()] == ["anew", "images"]
    longer = path.with_name("longer")
    longer.write_text('{"type": "images"}\n{"type": "start"}\n{"type": "done"}\n')
    longer.replace(path)
    assert [event["type"] for event in follower.read()] == ["anew", "images", "start", "done"]


def test_what_is_no_event_is_passed_over(tmp_path):
    (tmp_path / "events.jsonl").write_text('3\n[]\n"words"\n{"no": "type"}\n\n{"type": "done"}\n')
    assert Follower(tmp_path).read() == [{"type": "done"}]
