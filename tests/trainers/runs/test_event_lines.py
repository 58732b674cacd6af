"""What is an event and what is none, whoever wrote the line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.damaged_events import LINES
from trainers.ranks.history import read_ranks, summarise
from trainers.runs.event_lines import LONGEST, ends_whole, open_events, parse_event, whole_lines
from trainers.runs.events import Recorder, read_events
from trainers.runs.run import Run
from trainers.runs.threads import read_threads

GOOD = {"time": 1.7e9, "type": "step", "step": 3, "steps": 9, "loss": 0.5, "lr": 1e-4, "speed": 2.5, "memory": 7}


def parsed(**changes: object) -> dict | None:
    return parse_event(json.dumps(GOOD | changes).encode())


def test_an_event_of_ours_is_taken_as_it_is():
    assert parsed() == GOOD
    assert parsed(loss="nan") == GOOD | {"loss": "nan"}
    ranks = {"type": "ranks", "step": 1, "ranks": {"unet.mid_block": 4}}
    assert parse_event(json.dumps(ranks).encode()) == ranks


@pytest.mark.parametrize(
    "changes",
    [
        *({"time": time} for time in ("now", -1, 1e12, [1], True, None)),
        *({"step": step} for step in ("3", 3.0, -1, 2**60, None, [3], True)),
        *({"speed": speed} for speed in ("fast", -1.0, 1e200, None)),
        *({"loss": loss} for loss in ("small", None, [0.5])),
        *({"type": kind} for kind in (None, ["step"], 3, "drawing", "attempt")),
        {"lr": "1e-4"},
        {"ranks": {"a": -1}},
        {"ranks": {"a" * 301: 1}},
        {"prompts": ["a", 3]},
        {"message": "half a pair \ud800"},
    ],
    ids=repr,
)
def test_one_wrong_field_makes_it_none(changes):
    assert parsed(**changes) is None


@pytest.mark.parametrize("missing", ["type", "step"])
def test_an_event_without_what_it_says_is_none(missing):
    assert parse_event(json.dumps({name: value for name, value in GOOD.items() if name != missing}).encode()) is None


def test_fields_of_another_version_are_kept_where_they_are_plain():
    assert parsed(mood="fine", nested={"a": [1]}) == GOOD | {"mood": "fine"}


def test_a_line_without_end_takes_no_memory(tmp_path):
    path = tmp_path / "events.jsonl"
    good = json.dumps(GOOD).encode() + b"\n"
    path.write_bytes(good + b'"' + b"x" * (2 * LONGEST) + b'"\n' + good)
    with path.open("rb") as file:
        lines = [line for line, _ in whole_lines(file)]
    assert lines == [good, b"", good]
    assert [event["step"] for event in read_events(tmp_path)] == [3, 3]


def test_what_is_no_file_is_not_waited_for(tmp_path):
    assert open_events(tmp_path) is None and open_events(tmp_path / "nowhere") is None
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(OSError, match="is not a file"):
        open_events(tmp_path)


@pytest.mark.slow
@given(st.lists(LINES, max_size=6))
def test_any_lines_are_read_by_every_reader_of_the_library(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("run")
    Recorder(folder)("ranks", step=1, ranks={"unet.mid_block.attentions.0.proj_in": 2})
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b"\n".join(lines))
    Recorder(folder)("ranks", step=2**53, ranks={"unet.mid_block.attentions.0.proj_in": 3})
    assert ends_whole(folder / "events.jsonl")
    events = list(read_events(folder))
    assert json.loads(json.dumps(events)) == events and events[-1]["step"] == 2**53
    assert events[1:-1] == [event for line in b"\n".join(lines).split(b"\n") if (event := parse_event(line))]
    history = read_ranks(folder)
    assert history is not None and history.ranks[-1][-1] in (2, 3) and summarise(history)
    assert isinstance(read_threads(Run(folder)), int | None)
