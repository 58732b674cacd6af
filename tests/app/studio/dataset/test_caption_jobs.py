from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from app.jobs.dispatcher import Dispatcher
from app.studio.dataset import edits
from app.studio.dataset.caption_jobs import CaptionJobs, CaptionProgress
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.uploads import take_folder
from app.studio.job_modules import JOB_MODULES
from app.studio.studio_queue import StudioQueue
from app.ui.train.text import undo_line
from tests.app.jobs.working import CPU
from tests.trainers.captioning.captioners import write_tagger

KEY = "visitor:someone"
PATIENCE = 120


@pytest.fixture
def drafts(drafts: Drafts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drafts:
    """Drafts beside a tagger that needs no network."""
    write_tagger(tmp_path / "models" / "wd-vit-tagger-v3")
    monkeypatch.setenv("VELATURA_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return drafts


@pytest.fixture
def draft(drafts: Drafts, tmp_path: Path) -> Draft:
    """A red, a blue and a green picture, of which the first has a caption."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, colour in (("A fox.png", (250, 120, 10)), ("IMG_2.png", (0, 0, 255)), ("IMG_3.png", (0, 200, 0))):
        Image.new("RGB", (64, 64), colour).save(folder / name)
    return take_folder(drafts, KEY, folder)


@pytest.fixture
def queue(drafts: Drafts) -> Iterator[StudioQueue]:
    """A queue whose jobs are done, each by a process that imports only what it needs."""
    made = StudioQueue(drafts.paths)
    with Dispatcher(made.store, JOB_MODULES, CPU, interval=0.05).in_background():
        yield made
        for job in made.store.active():
            job.process.kill()


@pytest.fixture
def caption_jobs(drafts: Drafts, queue: StudioQueue) -> CaptionJobs:
    return CaptionJobs(drafts, queue)


def captions(drafts: Drafts) -> list[str]:
    return [one.caption for one in drafts.read(KEY).pictures]


def finished(caption_jobs: CaptionJobs) -> CaptionProgress:
    end = time.monotonic() + PATIENCE
    while (state := caption_jobs.look(KEY)).busy:
        assert time.monotonic() < end, state
        time.sleep(0.05)
    return state


def test_only_empty_captions_are_written_and_undone_together(
    drafts: Drafts, draft: Draft, caption_jobs: CaptionJobs
) -> None:
    assert caption_jobs.look(KEY).phase == "none"
    assert caption_jobs.start(KEY, "wd14", only_empty=True) == 2
    assert caption_jobs.look(KEY).busy
    state = finished(caption_jobs)
    assert (state.phase, state.done, state.of) == ("done", 2, 2)
    assert captions(drafts) == ["A fox", "blue sky", "green tree"]
    assert undo_line(drafts.read(KEY).undo[-1]) == "2 captions written."
    drafts.change(KEY, edits.undone)
    assert captions(drafts) == ["A fox", "", ""]
    assert finished(caption_jobs).phase == "done"
    assert captions(drafts) == ["A fox", "", ""], "what was taken back does not come again"
    drafts.change(KEY, lambda now: edits.with_captions(now, {one.id: "x" for one in now.pictures}))
    assert caption_jobs.start(KEY, "wd14", only_empty=True) == 0


def test_what_a_person_writes_meanwhile_stays(drafts: Drafts, draft: Draft, caption_jobs: CaptionJobs) -> None:
    caption_jobs.start(KEY, "wd14", only_empty=False)
    second = draft.pictures[1].id
    drafts.change(KEY, lambda now: edits.with_caption(now, second, "the sea", ""))
    finished(caption_jobs)
    assert captions(drafts) == ["red fox, green tree", "the sea", "green tree"]


def test_another_studio_takes_over_what_one_has_begun(
    drafts: Drafts, draft: Draft, caption_jobs: CaptionJobs, queue: StudioQueue
) -> None:
    caption_jobs.start(KEY, "wd14", only_empty=True)
    while caption_jobs.look(KEY).phase == "waiting":
        time.sleep(0.05)
    assert finished(CaptionJobs(drafts, queue)).phase == "done"
    assert captions(drafts) == ["A fox", "blue sky", "green tree"]


def test_stopping_keeps_what_was_written(drafts: Drafts, draft: Draft, caption_jobs: CaptionJobs) -> None:
    caption_jobs.start(KEY, "wd14", only_empty=True)
    caption_jobs.stop(KEY)
    state = finished(caption_jobs)  # its process may still write a caption
    assert state.phase == "stopped" and state.done <= state.of == 2
    caption_jobs.start(KEY, "wd14", only_empty=True)
    assert finished(caption_jobs).phase == "done"


def test_a_model_that_cannot_be_had_is_one_sentence(drafts: Drafts, draft: Draft, caption_jobs: CaptionJobs) -> None:
    caption_jobs.start(KEY, "blip", only_empty=True)
    state = finished(caption_jobs)
    assert state.phase == "failed" and state.done == 0
    assert state.message.startswith("BLIP is not on this computer and there is no network. Write captions by hand")
    assert "Traceback" in state.details and "Traceback" not in state.message


def test_a_writer_waits_for_its_turn_and_says_so(drafts: Drafts, draft: Draft) -> None:
    idle = CaptionJobs(drafts, StudioQueue(drafts.paths))
    assert idle.start(KEY, "wd14", only_empty=False) == 3
    state = idle.look(KEY)
    assert (state.phase, state.of) == ("waiting", 3) and "1st in line" in state.message
    idle.stop(KEY)
    assert idle.look(KEY).phase == "stopped"
    assert captions(drafts) == ["A fox", "", ""]
