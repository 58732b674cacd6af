"""What people write about a run: kept with it, a field at a time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.run_trash import held, start_over
from app.jobs.store import TRAIN, NewJob
from app.studio.runs.notes import NOTES, Notes, read_notes, write_notes
from app.studio.services import open_services
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import StyleLibrary
from tests.app.ui.ended_runs import write_run
from trainers.runs.run import Run


@pytest.fixture
def run(queue: StudioQueue) -> Path:
    folder = write_run(queue.store.runs, "dusk", {"train": {"steps": 40, "warmup": 0}})
    queue.store.add(NewJob(TRAIN, folder), phase="ended")
    return folder


def test_a_field_is_written_alone_and_becomes_one_line(run):
    assert read_notes(run) == Notes() and read_notes(run).line == ""
    write_notes(run, note=" too\n strong\t\0from here ")
    write_notes(run, tags="blue, #ink ,, blue,  to   compare ")
    assert read_notes(run) == Notes("too strong from here", ("blue", "ink", "to compare"))
    assert read_notes(run).typed == "blue, ink, to compare"
    assert read_notes(run).line == "too strong from here #blue #ink #to compare"
    write_notes(run, note="👩\u200d💻 \u202efox\u200d\u200b", tags="می\u200cشود, \u200d, ink\u200d")
    assert read_notes(run) == Notes("👩\u200d💻 fox", ("می\u200cشود", "ink"))
    write_notes(run, tags="blue, ink, to compare")
    write_notes(run, note="")
    assert read_notes(run).line == "#blue #ink #to compare"
    write_notes(run, note="x" * 300, tags=",".join(f"{number}{'y' * 40}" for number in range(20)))
    assert len(read_notes(run).note) == 200 and [len(tag) for tag in read_notes(run).tags] == [30] * 8


def test_two_pages_that_write_at_once_keep_each_others_field(run):
    with ThreadPoolExecutor(2) as pages:
        for number in range(20):
            tasks = [
                pages.submit(write_notes, run, note=f"{number}"),
                pages.submit(write_notes, run, tags=f"t{number}"),
            ]
            assert [task.result() for task in tasks] == [None, None]
            assert read_notes(run) == Notes(f"{number}", (f"t{number}",))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"note": 3, "tags": "ink"}', '{"note": null, "tags": [null, 3]}', "[" * 100_000]
)
def test_a_damaged_file_holds_no_notes_and_is_written_anew(run, text):
    (run / NOTES).write_text(text)
    assert read_notes(run) == Notes()
    write_notes(run, note="a", tags="b")
    assert read_notes(run) == Notes("a", ("b",))


def test_notes_outlive_a_restart_and_the_trash_and_styles_have_them(queue, run):
    write_notes(run, "too strong", "blue")
    (style,) = StyleLibrary(queue).entries()
    assert style.about == read_notes(run) == Notes("too strong", ("blue",))
    item = actions.delete(queue.store, queue.number("dusk", actor=MACHINE_OWNER), actor=MACHINE_OWNER)
    assert item is not None and read_notes(run) == Notes()
    with pytest.raises(FileNotFoundError):
        write_notes(run, "lost")
    assert not run.exists()
    actions.restore(queue.store, item.id, actor=MACHINE_OWNER)
    assert read_notes(run) == style.about
    (run / "dataset").mkdir()
    job = queue.store.job_in(run)
    assert job is not None
    with held(queue.store, job):
        start_over(queue.store, job, Run(run).config())
    assert read_notes(run) == style.about and not (run / "style").exists()


def test_other_pages_notice_a_note(queue, run, tmp_path):
    changes = open_services(queue.paths, tmp_path).changes
    before = changes.look()
    write_notes(run, "first")
    after = changes.look()
    assert before != after == changes.look()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_not_waited_for(run):
    os.mkfifo(run / NOTES)
    assert read_notes(run) == Notes()
