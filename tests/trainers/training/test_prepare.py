"""A run that waits: whole before it starts, and then trained as if it had not waited."""

from __future__ import annotations

import shutil

import pytest

from tests.faults import Fault, each_cut
from tests.trainers.tiny_runs import equal, events_of, quick_settings, style_tensors, write_images
from trainers.errors import BusyError, VelaturaError
from trainers.runs.events import read_events
from trainers.runs.run import Run
from trainers.training.prepare import prepare
from trainers.training.train import resume, train

pytestmark = pytest.mark.usefixtures("quick_runs")


def test_a_prepared_run_needs_no_originals_and_gives_the_same_bits(tiny_bases, images, tmp_path):
    originals = shutil.copytree(images, tmp_path / "originals")
    config = quick_settings(tiny_bases["sd1"], originals)
    run = prepare(config, tmp_path / "runs")
    assert {path.name for path in run.folder.iterdir()} == {"config.toml", "dataset", "events.jsonl", "log.txt"}
    assert [event["count"] for event in events_of(run, "images")] == [3]
    shutil.rmtree(originals)
    result = resume(run)
    assert result.run == run.folder and result.grid is not None
    whole = train(quick_settings(tiny_bases["sd1"], images), tmp_path / "whole")
    assert equal(style_tensors(result.style), style_tensors(whole.style))
    with pytest.raises(VelaturaError, match="is complete at step 2; to train longer, set more --steps"):
        resume(run)


def test_nothing_is_left_of_what_cannot_be_prepared(quick, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VelaturaError, match="There are no images"):
        prepare(quick({"data": {"images": str(tmp_path / "empty")}}), tmp_path / "runs")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_at_any_change_leaves_a_whole_run_or_none(fault, tiny_bases, tmp_path):
    images = write_images(tmp_path / "images", {"fox": (32, 32), "moon": (32, 24)})
    config = quick_settings(tiny_bases["sd1"], images)
    prepare(config, tmp_path / "expected")

    def look(runs):
        kept = [path for path in (runs / "dusk").rglob("*") if path.suffix in (".png", ".txt", ".toml")]
        return {path.relative_to(runs).as_posix(): path.read_bytes() for path in kept if path.name != "log.txt"}

    expected, seen = look(tmp_path / "expected"), []
    for cut in each_cut(fault, tmp_path, None, lambda place: prepare(config, place)):
        seen.append(look(cut.place))
        assert seen[-1] in ({}, expected), cut
        if seen[-1]:
            events = [event["type"] for event in read_events(cut.place / "dusk")]
            assert events == ["phase", "images"] or "duplicates" in str(events), cut
        elif fault in (Fault.FULL, Fault.BROKEN):
            assert isinstance(cut.error, VelaturaError | OSError) and list(cut.place.iterdir()) == [], cut
        elif len(seen) % 10 == 0:
            assert look(prepare(config, cut.place).folder.parent) == expected, cut
    assert seen[0] == {} and seen[-1] == expected and len(seen) > 20


def test_what_only_the_base_can_refuse_is_an_event_of_the_run(quick, tmp_path):
    run = prepare(quick({"targets": {"unet": ["no.such.*"]}}), tmp_path)
    with pytest.raises(VelaturaError, match="matches no layer") as caught:
        resume(run)
    assert [event["message"] for event in events_of(run, "error")] == [str(caught.value)]
    assert run.config().targets.unet == ("no.such.*",)


def test_a_run_that_is_trained_elsewhere_keeps_its_record(quick, tmp_path):
    run = prepare(quick(), tmp_path)
    before = (run.folder / "events.jsonl").read_bytes()
    with run.training(), pytest.raises(BusyError, match="trained by another process"):
        resume(run)
    assert (run.folder / "events.jsonl").read_bytes() == before


def ending(run: Run, how: str, step: int):
    def listen(event):
        if event["type"] == "step" and event["step"] == step:
            run.ask_to_stop(how)

    return listen


@pytest.mark.usefixtures("no_pictures")
def test_a_pause_saves_and_exports_nothing_and_the_run_ends_with_the_same_bits(quick, tmp_path):
    config = quick({"train": {"steps": 4}, "save": {"every": 4}})
    run = prepare(config, tmp_path)
    paused = resume(run, ending(run, "pause", 2))
    assert (paused.steps, paused.stopped_by, paused.style, paused.grid) == (2, "pause", None, None)
    assert run.checkpoint_steps() == [2] and not run.style.exists() and run.asked_to_stop() is None
    assert [event["step"] for event in events_of(run, "paused")] == [2]
    whole = train(config, tmp_path / "whole")
    assert equal(style_tensors(resume(run).style), style_tensors(whole.style))


@pytest.mark.usefixtures("no_pictures")
def test_a_paused_run_is_saved_where_it_is_without_another_step(quick, tmp_path):
    config = quick({"train": {"steps": 4}, "save": {"every": 4}})
    run, other = prepare(config, tmp_path), Run(tmp_path / "other" / "dusk")
    resume(run, ending(run, "pause", 2))
    run.ask_to_stop("save")
    saved = resume(run, heed_stop=True)
    assert (saved.steps, saved.stopped_by) == (2, "request") and run.asked_to_stop() is None
    stopped = train(config, tmp_path / "other", listener=ending(other, "save", 2))
    assert equal(style_tensors(saved.style), style_tensors(stopped.style))
    assert len(events_of(run, "step")) == 2


@pytest.mark.usefixtures("no_pictures")
def test_a_stop_of_long_ago_is_forgotten(quick, tmp_path):
    run = prepare(quick({"train": {"steps": 3}}), tmp_path)
    resume(run, ending(run, "pause", 1))
    run.ask_to_stop("pause")
    assert resume(run).stopped_by == ""


@pytest.mark.usefixtures("no_pictures")
def test_a_cancelled_run_saves_nothing_more(quick, tmp_path):
    run = prepare(quick({"train": {"steps": 6}, "save": {"every": 2}}), tmp_path)
    cancelled = resume(run, ending(run, "cancel", 3))
    assert (cancelled.steps, cancelled.stopped_by, cancelled.style) == (3, "cancel", None)
    assert run.checkpoint_steps() == [2] and not run.style.exists() and run.asked_to_stop() is None
    assert [event["step"] for event in events_of(run, "cancelled")] == [3]


def test_each_picture_is_announced_and_the_log_is_not_filled_with_it(quick, tmp_path):
    run = prepare(quick({"sample": {"prompts": ["a fox", "a boat"]}}), tmp_path)
    resume(run)
    drawing = [(event["step"], event["picture"], event["pictures"]) for event in events_of(run, "drawing")]
    assert drawing == [(0, 1, 2), (0, 2, 2), (2, 1, 2), (2, 2, 2), (2, 1, 2), (2, 2, 2)]
    assert "drawing" not in (run.folder / "log.txt").read_text()


def test_what_was_left_out_is_said_and_a_name_is_given_once(tiny_bases, tmp_path):
    folder = write_images(tmp_path / "images")
    (folder / "broken.png").write_bytes(b"no image")
    run = prepare(quick_settings(tiny_bases["sd1"], folder), tmp_path / "runs")
    assert len(list(run.dataset.glob("*.png"))) == 3
    assert any("broken.png was left out" in event["message"] for event in events_of(run, "warning"))
    with pytest.raises(VelaturaError, match="already exists"):
        prepare(quick_settings(tiny_bases["sd1"], folder), tmp_path / "runs")


def test_settings_of_folders_without_pictures_are_named(tiny_bases, tmp_path):
    write_images(tmp_path / "images" / "ink")
    sets = {"ink": {"weight": 0.5}, "chalk": {"weight": 0.5}, "oil": {"weight": 2.0}}
    config = quick_settings(tiny_bases["sd1"], tmp_path / "images", {"data": {"sets": sets}})
    run = prepare(config, tmp_path / "runs")
    assert [str(event["message"]) for event in events_of(run, "warning")] == [
        "settings of folders without images have no effect: chalk and oil"
    ]
