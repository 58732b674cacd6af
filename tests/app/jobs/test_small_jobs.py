"""Estimates, captions and pictures in the same line as the runs, with real results."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from app.jobs import actions
from app.jobs.job import REQUEST, read_table
from app.jobs.permissions import MACHINE_OWNER
from app.jobs.small_jobs import PICTURE, PLAIN, add_small_job
from app.jobs.store import CAPTION, ESTIMATE, GENERATE, NewJob
from app.studio.dataset.captions import CaptionRequest
from app.studio.generation.request import GenerateRequest, StyleRef
from tests.app.jobs.working import do_next, line
from tests.trainers.captioning.captioners import write_tagger
from tests.trainers.tiny_runs import write_images
from trainers.errors import VelaturaError
from trainers.runs.events import read_events
from trainers.training.train import train

pytestmark = pytest.mark.usefixtures("quick_runs")


def told(job, kind):
    return [event for event in read_events(job.folder) if event["type"] == kind]


def test_an_estimate_goes_behind_the_runs_and_leaves_its_numbers(store, quick):
    config = quick("dusk", {"train": {"steps": 3}})
    job = add_small_job(store, ESTIMATE, config, "anna", config.train.device)
    run = actions.add(store, config, priority=-9, actor=MACHINE_OWNER)
    assert line(store) == ["dusk", "estimate"] and (job.owner, job.wants) == ("anna", "cpu")
    actions.stop(store, run.id, "cancel", actor=MACHINE_OWNER)
    view = do_next(store)
    facts = dict(view.summary.facts)
    assert (view.state, facts["steps"], facts["measured"]) == ("finished", 3, 3)
    assert facts["seconds"] > 3 * facts["seconds_a_step"] > 0 and facts["file"] > 1000
    shares = [(event["done"], event["of"]) for event in told(job, "working") if "done" in event]
    assert shares == [(1, 3), (2, 3), (3, 3)]


def test_an_estimate_of_what_cannot_be_trained_fails_in_one_sentence(store, quick):
    add_small_job(store, ESTIMATE, quick("dusk", {"targets": {"unet": ["no.such.*"]}}))
    view = do_next(store)
    assert view.state == "failed" and "matches no layer" in view.line


def test_captions_are_written_beside_the_images_and_told_one_by_one(store, tmp_path, monkeypatch):
    write_tagger(tmp_path / "models" / "wd-vit-tagger-v3")
    monkeypatch.setenv("VELATURA_MODELS", str(tmp_path / "models"))
    images = write_images(tmp_path / "images")
    names = sorted(path.name for path in images.glob("*.png"))
    for path in images.glob("*.txt"):
        path.unlink()
    (images / names[0]).with_suffix(".txt").write_text("my own words\n")
    job = add_small_job(store, CAPTION, CaptionRequest(images=images, model="wd14"))
    assert do_next(store).state == "finished"
    captions = {event["image"]: event["caption"] for event in told(job, "caption")}
    assert sorted(captions) == names[1:]
    for name, words in captions.items():
        assert (images / name).with_suffix(".txt").read_text() == words + "\n"
    assert (images / names[0]).with_suffix(".txt").read_text() == "my own words\n"
    again = add_small_job(store, CAPTION, CaptionRequest(images=images, model="wd14", every=True))
    do_next(store)
    assert len(told(again, "caption")) == len(names)
    add_small_job(store, CAPTION, CaptionRequest(images=images, model="nobody", every=True))
    assert do_next(store).line == "there is no captioning model 'nobody'; available are blip, florence-2, wd14"


def test_a_picture_is_drawn_with_and_without_its_style(store, quick, tiny_bases, tmp_path):
    style = train(quick("dusk", {"train": {"steps": 2, "learning_rate": 1.0}}), tmp_path / "runs").style
    request = GenerateRequest(
        prompts=("-- a fox",),
        styles=(StyleRef(style="dusk", strength=0.9, path=style),),
        seed=3,
        steps=2,
        sampler="ddim",
        guidance=5.0,
        size=(32, 32),
        base=str(tiny_bases["sd1"]),
    )
    job = add_small_job(store, GENERATE, request)
    view = do_next(store)
    assert view.state == "finished", view.line
    with_style, without = (Image.open(job.folder / name) for name in (PICTURE, PLAIN))
    assert with_style.size == without.size == (32, 32)
    assert np.abs(np.asarray(with_style, int) - np.asarray(without, int)).max() > 0
    assert '"-- a fox"' in with_style.text["velatura"] and '"styles": []' in without.text["velatura"]
    assert [(event["done"], event["of"]) for event in told(job, "working") if "done" in event] == [
        (done, 4) for done in (1, 2, 3, 4)
    ]
    plain = add_small_job(store, GENERATE, request.model_copy(update={"styles": (), "steps": 1}))
    do_next(store)
    assert (plain.folder / PICTURE).is_file() and not (plain.folder / PLAIN).exists()


def test_a_picture_that_cannot_be_drawn_is_said_before_anything_is_loaded(store, tmp_path):
    gone = tmp_path / "nothing.safetensors"
    style = StyleRef(style="x", path=gone, name="Dusk")
    drawn = {"size": (32, 32), "guidance": 7.0, "steps": 2, "sampler": "ddim"}
    request = GenerateRequest(prompts=("a fox",), styles=(style,), **drawn)
    add_small_job(store, GENERATE, request)
    view = do_next(store)
    assert (view.state, view.line) == ("failed", "the style “Dusk” has been deleted since; choose another one")
    with pytest.raises(VelaturaError, match="cannot be paused"):
        actions.stop(store, view.job.id, "pause", actor=MACHINE_OWNER)


def test_a_command_of_an_older_version_ends_with_a_sentence(store):
    folder = actions.new_folder(store, GENERATE)
    store.add(NewJob(GENERATE, folder, ("generate", "--prompt=a fox", f"--out={folder / PICTURE}")))
    view = do_next(store)
    assert view.state == "failed" and "queued by an older Velatura" in view.line
    assert "start it again" in view.line and not (folder / PICTURE).exists()
    store.add(NewJob("unheard-of", actions.new_folder(store, "unheard-of")))
    assert "queued by an older Velatura" in do_next(store).line


def test_what_a_job_is_asked_for_is_read_as_far_as_it_can_be(store, quick):
    job = add_small_job(store, ESTIMATE, quick("dusk"))
    assert read_table(job.folder / REQUEST)["name"] == "dusk"
    for damaged in (b"[1]", b"\0"):
        (job.folder / REQUEST).write_bytes(damaged)
        assert read_table(job.folder / REQUEST) == {}
    assert read_table(job.folder / "none" / REQUEST) == {}
