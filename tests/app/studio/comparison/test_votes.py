"""Votes in a run's folder: added, undone, damaged, made at once; and which pair comes next."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.run_trash import VOTES
from app.jobs.store import TRAIN, NewJob
from app.studio.comparison.votes import Votes, add_vote, next_pair, read_votes, undo_vote
from app.studio.studio_queue import StudioQueue
from tests.app.ui.ended_runs import write_run
from trainers.runs.events import Recorder
from trainers.score.votes import Vote

A, B, C = (10, 1.0), (10, 0.8), (20, 1.0)


@pytest.fixture
def run(queue: StudioQueue) -> Path:
    folder = queue.store.runs / "dusk"
    folder.mkdir()
    return folder


def test_votes_are_kept_in_order_and_the_last_is_taken_back(run):
    add_vote(run, "a fox", Vote(A, B, 1.0), 0)
    add_vote(run, "a boat", Vote(C, A, 0.5), 1)
    assert read_votes(run) == Votes(2, (Vote(A, B, 1.0), Vote(C, A, 0.5)), ("a fox", "a boat"))
    undo_vote(run, 2)
    assert read_votes(run) == Votes(3, (Vote(A, B, 1.0),), ("a fox",))
    undo_vote(run, 3)
    undo_vote(run, 4)
    assert read_votes(run) == Votes(5, (), ()), "an undoing too many harms nothing"
    assert len((run / VOTES).read_text().splitlines()) == 5, "no line is ever removed"


def test_a_vote_on_an_older_state_is_left_out(run):
    assert add_vote(run, "a fox", Vote(A, B, 1.0), 0)
    assert not add_vote(run, "a fox", Vote(A, B, 1.0), 0)
    undo_vote(run, 0)
    assert read_votes(run) == Votes(1, (Vote(A, B, 1.0),), ("a fox",)), "pressed twice, or in another tab"


@pytest.mark.parametrize(
    "damage",
    [
        *("", "no JSON", "[1]", "null", "\x00\xff", "[" * 100_000),
        '{"first": [1, 1.0], "second": [2, 1.0], "won": 3, "prompt": "x"}',
        '{"first": [1], "second": [2, 1.0], "won": 1, "prompt": "x"}',
        '{"first": [1e999, 1], "second": [2, 1.0], "won": 1, "prompt": "x"}',
        '{"first": [1, 1.0], "second": [2, 1.0], "won": "often", "prompt": "x"}',
        '{"first": [1, 1.0], "second": [1, 1.0], "won": 1, "prompt": "x"}',
    ],
)
def test_damaged_lines_count_as_none_and_stay(run, damage):
    add_vote(run, "a fox", Vote(A, B, 1.0), 0)
    with (run / VOTES).open("a", encoding="utf-8") as file:
        file.write(damage)  # without its end, as after a power cut
    lines = read_votes(run).lines
    add_vote(run, "a fox", Vote(C, B, 0.0), lines)
    assert read_votes(run).votes == (Vote(A, B, 1.0), Vote(C, B, 0.0))
    assert damage in (run / VOTES).read_text(encoding="utf-8")


def test_a_link_out_of_the_folder_is_neither_read_nor_written(run, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(json.dumps({"first": A, "second": B, "won": 1, "prompt": "x"}) + "\n")
    (run / VOTES).symlink_to(elsewhere)
    assert read_votes(run) == Votes(0, (), ())
    add_vote(run, "a fox", Vote(C, B, 1.0), 0)
    assert read_votes(run).votes == (Vote(C, B, 1.0),) and elsewhere.read_text().count("\n") == 1


def test_every_pair_takes_its_turn_on_every_prompt_and_on_both_sides(run):
    shown = {"a fox": [A, B, C], "a boat": [C, B, A]}
    sides, pairs, prompts = Counter(), Counter(), Counter()
    for lines in range(60):
        votes = read_votes(run)
        choice = next_pair(shown, votes, "seed")
        assert choice is not None and choice == next_pair(shown, votes, "seed"), "the same until a vote"
        prompt, left, right = choice
        sides[left] += 1
        pairs[frozenset((left, right))] += 1
        prompts[prompt] += 1
        add_vote(run, prompt, Vote(left, right, 1.0), lines)
    assert set(pairs.values()) == {20} and set(prompts.values()) == {30}
    assert all(10 <= count <= 30 for count in sides.values())
    last = read_votes(run)
    undo_vote(run, 60)
    assert next_pair(shown, read_votes(run), "seed") == choice and read_votes(run) != last, "the pair comes again"


def test_two_pictures_of_different_prompts_are_no_pair():
    nothing = Votes(0, (), ())
    assert next_pair({}, nothing, "") is None and next_pair({"a fox": [A], "a boat": [B]}, nothing, "") is None


def test_votes_go_with_a_deleted_run_and_a_restart_begins_without(queue):
    folder = write_run(queue.store.runs, "dusk", {"train": {"steps": 4, "warmup": 0}})
    add_vote(folder, "a fox", Vote(A, B, 1.0), 0)
    job = queue.store.add(NewJob(TRAIN, folder), phase="ended")
    thrown = queue.delete(job.id, actor=MACHINE_OWNER)
    assert thrown is not None and not folder.exists()
    actions.restore(queue.store, thrown.id, actor=MACHINE_OWNER)
    assert read_votes(folder).votes == (Vote(A, B, 1.0),)
    Recorder(folder)("cancelled", step=4)
    job = queue.store.job_in(folder)
    actions.retry(queue.store, job.id, {}, actor=MACHINE_OWNER)
    assert (folder / "config.toml").is_file() and not (folder / VOTES).exists()
    assert len(list((queue.store.runs / ".trash").rglob(VOTES))) == 1, "the former run in the trash has its votes"
