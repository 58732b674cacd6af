"""The record of a run: every event whole, whatever was cut before it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.messages import Message, from_record
from trainers.runs.event_lines import SAID
from trainers.runs.events import Recorder, latest_events, read_events


def test_events_are_lines_of_json_and_words(tmp_path):
    heard = []
    record = Recorder(tmp_path, heard.append)
    record("step", step=1, loss=0.5)
    record("warning", message="a.png was left out")
    record("checkpoint", step=1, path=Path("a/b"))
    events = list(read_events(tmp_path))
    assert events == heard
    assert [event["type"] for event in events] == ["step", "warning", "checkpoint"]
    assert events[0]["loss"] == 0.5 and events[2]["path"] == str(Path("a/b")) and events[0]["time"] > 1.7e9
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len(lines) == 2  # steps are many, and not for reading
    assert lines[0].endswith("warning: a.png was left out") and lines[1].endswith(f"step 1, path {Path('a/b')}")


def test_a_message_stays_on_its_line_of_the_log(tmp_path):
    message = "a.png\n2026-01-01 00:00:00 done: forged\r\x1b[2J\u2028\u202e\x00 狐"
    Recorder(tmp_path)("warning", message=message)
    (line,) = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert line.endswith(r"warning: a.png\n2026-01-01 00:00:00 done: forged\r\x1b[2J\u2028\u202e\x00 狐")
    assert next(read_events(tmp_path))["message"] == message


def test_a_message_is_kept_with_what_it_was_made_from(tmp_path):
    record = Recorder(tmp_path)
    said = Message("{name} broke at {step}", name="dusk", step=3)
    record("error", message=said)
    record("error", message=Message("it broke"))
    first, second = read_events(tmp_path)
    assert first["message"] == "dusk broke at 3" and from_record(first[SAID]) == said
    assert second["message"] == "it broke" and SAID not in second
    assert (tmp_path / "log.txt").read_text().splitlines()[0].endswith("error: dusk broke at 3")


def test_numbers_that_are_none_stay_json(tmp_path):
    record = Recorder(tmp_path)
    record("skipped", loss=float("nan"), grad_norm=float("inf"))
    (line,) = (tmp_path / "events.jsonl").read_text().splitlines()
    event = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (event["loss"], event["grad_norm"]) == ("nan", "inf")


def test_a_line_cut_by_a_kill_costs_no_other(tmp_path):
    Recorder(tmp_path)("note", message="Füchse")
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    for cut in range(len(whole)):  # within the two bytes of the ü, too
        path.write_bytes(whole + whole[:cut])
        Recorder(tmp_path)("done", step=3)
        assert [event["type"] for event in read_events(tmp_path)] in (["note", "done"], ["note", "note", "done"])
        assert next(read_events(tmp_path))["message"] == "Füchse"


def test_the_latest_events_are_those_since_the_run_last_began_from_zero(tmp_path):
    assert latest_events(tmp_path) == []
    record = Recorder(tmp_path)
    record("checkpoint", step=3)
    assert [event["step"] for event in latest_events(tmp_path)] == [3]
    record("anew")
    assert latest_events(tmp_path) == []
    record("start", steps=5)
    record("checkpoint", step=1)
    assert [event["type"] for event in latest_events(tmp_path)] == ["start", "checkpoint"]


@given(st.text())
def test_any_text_comes_back_as_one_event(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("events")
    record = Recorder(folder)
    try:
        record("note", message=text)
    except UnicodeEncodeError:  # lone surrogates are no text
        assert any(0xD800 <= ord(c) < 0xE000 for c in text)
        return
    assert [event["message"] for event in read_events(folder)] == [text]


def test_a_run_moves_on_in_another_folder(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    record = Recorder(first)
    record("note", message="one")
    first.rename(second)
    record.move_to(second)
    record("note", message="two")
    assert [event["message"] for event in read_events(second)] == ["one", "two"] and not first.exists()


def test_no_events_yet(tmp_path):
    assert list(read_events(tmp_path)) == []
