"""A folder on a node and its copy on the head: equal after every collection, and never half of anything in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.cluster.changes import INCOMING, Appended, Arrived, Content, FolderChanges, FolderCopy, Removed
from app.jobs.cluster.parcel import BLOCK, list_files


def contents(folder: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in list_files(folder)}


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    node, head = tmp_path / "node", tmp_path / "head"
    for folder in (node, head):
        folder.mkdir()
        (folder / "events.jsonl").write_bytes(b"before\n")
        (folder / "config.toml").write_bytes(b"")
    return node, head


def test_a_checkpoint_arrives_whole_and_before_the_event_that_mentions_it(sides):
    node, head = sides
    changes, copy = FolderChanges(node), FolderCopy(head)
    (node / "config.toml").write_bytes(b"the node's own")
    (node / "checkpoints" / "step-1").mkdir(parents=True)
    (node / "checkpoints" / "step-1" / "network").write_bytes(b"n" * (BLOCK + 5))
    (node / "checkpoints" / "step-1" / "sums").write_bytes(b"")
    with (node / "events.jsonl").open("ab") as events:
        events.write(b"saved 1\nstep 2 is cut")
    sent = list(changes.collect())
    assert [type(change) for change in sent] == [Content, Content, Content, Arrived, Appended]
    assert sent[-1] == Appended("events.jsonl", b"saved 1\n")
    for change in sent[:3]:
        copy.apply(change)
        assert not (head / "checkpoints").exists(), "it is nowhere before it is whole"
    for change in sent[3:]:
        copy.apply(change)
    assert contents(head)["checkpoints/step-1/network"] == b"n" * (BLOCK + 5)
    assert (head / "events.jsonl").read_bytes() == b"before\nsaved 1\n" and (head / "config.toml").read_bytes() == b""
    assert not (head / INCOMING).exists() and list(changes.collect()) == []


def test_what_the_head_writes_meanwhile_stays(sides):
    node, head = sides
    changes, copy = FolderChanges(node), FolderCopy(head)
    (head / "chosen.json").write_bytes(b"starred")
    with (head / "events.jsonl").open("ab") as events:
        events.write(b"of the head\n")
    (node / "samples").mkdir()
    (node / "samples" / "1.png").write_bytes(b"one")
    with (node / "events.jsonl").open("ab") as events:
        events.write(b"drawn\n")
    for change in changes.collect():
        copy.apply(change)
    (node / "samples" / "1.png").unlink()
    (node / "samples").rmdir()
    (node / "style.safetensors").write_bytes(b"style")
    for change in changes.collect():
        copy.apply(change)
    assert contents(head) == {
        "chosen.json": b"starred",
        "config.toml": b"",
        "events.jsonl": b"before\nof the head\ndrawn\n",
        "style.safetensors": b"style",
    }
    assert not (head / "samples").exists()


def test_what_a_killed_process_left_is_no_part_of_the_next_file(sides):
    _, head = sides
    first = FolderCopy(head)
    first.apply(Content("samples/1.png", b"half"))
    again = FolderCopy(head)
    again.apply(Content("samples/1.png", b"whole"))
    again.apply(Arrived())
    assert contents(head)["samples/1.png"] == b"whole"


@pytest.mark.parametrize("change", [Content("../out", b""), Appended("/out", b""), Removed("a/../../out")])
def test_a_node_changes_nothing_outside_of_the_folder(sides, change):
    with pytest.raises(ValueError, match="is not a path in a folder"):
        FolderCopy(sides[1]).apply(change)


NAMES = st.sampled_from(["a", "b", "sub/a", "sub/b", "sub/deep/c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.binary(max_size=20)),
        st.tuples(st.just("remove"), NAMES, st.just(b"")),
        st.tuples(st.just("event"), st.just(""), st.binary(max_size=9).map(lambda line: line.replace(b"\n", b""))),
        st.tuples(st.just("send"), st.just(""), st.just(b"")),
    ),
    max_size=12,
)


@given(STEPS)
def test_both_sides_are_equal_after_any_changes(tmp_path_factory, steps):
    node, head = tmp_path_factory.mktemp("node"), tmp_path_factory.mktemp("head")
    changes, copy = FolderChanges(node), FolderCopy(head)
    for number, (what, name, data) in enumerate([*steps, ("send", "", b"")]):
        path = node / name
        if what == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = path.with_name(".whole")
            whole.write_bytes(data)
            os.utime(whole, ns=(number, number))  # the clock of a file system may be coarse
            whole.replace(path)
        elif what == "remove":
            path.unlink(missing_ok=True)
        elif what == "event":
            with (node / "events.jsonl").open("ab") as events:
                events.write(data + b"\n")
        else:
            for change in changes.collect():
                copy.apply(change)
            assert contents(node) == contents(head)
