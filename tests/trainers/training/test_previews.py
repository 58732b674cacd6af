"""Pictures that are drawn while a style is trained: those of before stand beside the last ones, if they can be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.app.user_files import write_bomb
from tests.trainers.data.pictures import scene
from tests.trainers.tiny_runs import (
    equal,
    events_of,
    quick_settings,
    state_of,
    stopping_at,
    style_tensors,
    write_images,
)
from trainers.config.build import build_config
from trainers.config.sections import Data
from trainers.data.dataset import load_dataset
from trainers.data.decode import UnreadableError
from trainers.errors import VelaturaError
from trainers.planning.forecast import Forecast
from trainers.runs.events import Event, read_events
from trainers.runs.run import Run
from trainers.sampling.sample import SamplingParams
from trainers.training.previews import preview_params, read_pictures, with_prefix
from trainers.training.train import resume, train

PARAMS = SamplingParams(("a fox", "an owl"), (0,), size=(32, 16))


def test_the_pictures_of_an_order_are_read_no_larger_than_they_were_drawn(tmp_path: Path) -> None:
    assert read_pictures(tmp_path / "none", PARAMS) == []
    scene(1, (32, 16)).save(tmp_path / "00.png")
    scene(2, (320, 160)).save(tmp_path / "01.png")
    scene(3, (32, 16)).save(tmp_path / "02.png")  # of no prompt
    first, second = read_pictures(tmp_path, PARAMS)
    assert first.tobytes() == scene(1, (32, 16)).tobytes() and second.size == (32, 16)
    write_bomb(tmp_path / "01.png")
    with pytest.raises(UnreadableError, match="is too large"):
        read_pictures(tmp_path, PARAMS)
    (tmp_path / "00.png").unlink()
    assert read_pictures(tmp_path, PARAMS) == []  # none stands in the place of another


def test_the_words_of_a_base_stand_in_front_of_every_sample_prompt(tmp_path: Path) -> None:
    data = Data(cache=False)
    dataset = load_dataset(write_images(tmp_path / "images"), data, 0, 32, 8, "")
    table = {"name": "x", "sample": {"prefix": "masterpiece, best quality, ", "prompts": ["a fox", ""]}}
    drawn = preview_params(build_config(table), dataset, 32, starter=True)
    assert drawn.prompts == ("masterpiece, best quality, a fox", "masterpiece, best quality")
    assert with_prefix("score_9, a fox", "score_9") == "score_9, a fox" and with_prefix("a fox", " ") == "a fox"
    suggested = preview_params(build_config(table, {"sample": {"prompts": []}}), dataset, 32, starter=True)
    assert len(suggested.prompts) == 4 and all(each.startswith("masterpiece, best") for each in suggested.prompts)


@pytest.mark.usefixtures("quick_runs")
def test_a_damaged_picture_of_before_does_not_cost_the_style(tiny_bases, images, tmp_path):
    def damage(event: Event) -> None:
        if event["type"] == "step" and event["step"] == 1:
            write_bomb(tmp_path / "dusk" / "samples" / "step-00000000" / "00.png")

    done = train(quick_settings(tiny_bases["sd1"], images), tmp_path, listener=damage)
    (said,) = (event["message"] for event in events_of(Run(done.run), "warning"))
    assert said.startswith(
        "the pictures from before training are not shown next to the final ones: 00.png is too large"
    )
    assert done.style.is_file() and done.grid.is_file()


@pytest.mark.usefixtures("quick_runs")
def test_where_the_base_has_changed_the_pictures_of_before_are_drawn_again(tiny_bases, images, tmp_path):
    base = shutil.copytree(tiny_bases["sd1"], tmp_path / "base")
    fast = {"train": {"steps": 3, "learning_rate": 0.5}, "save": {"every": 1}}
    run = Run(tmp_path / "dusk")
    train(quick_settings(base, images, fast), tmp_path, listener=stopping_at(run, 2))
    resume(run, stopping_at(run, 3))
    assert [event["step"] for event in events_of(run, "sample")].count(0) == 1  # nothing has changed yet
    weights = base / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: -tensor if "conv_in" in name else tensor for name, tensor in load_file(weights).items()}, weights)
    old = (run.samples / "step-00000000" / "00.png").read_bytes()
    resume(run, steps=4)
    train(
        quick_settings(base, images, fast, {"name": "anew"}), tmp_path, listener=stopping_at(Run(tmp_path / "anew"), 1)
    )
    new = (run.samples / "step-00000000" / "00.png").read_bytes()
    assert new != old and new == (tmp_path / "anew" / "samples" / "step-00000000" / "00.png").read_bytes()
    assert any("have changed since this run began" in event["message"] for event in events_of(run, "note"))


SAMPLED = {"train": {"steps": 4}, "sample": {"every": 2, "prompts": ["a fox", "an owl"]}}


@pytest.mark.usefixtures("quick_runs")
def test_samples_change_nothing_of_what_is_trained(quick, tmp_path):
    """However many are drawn, and whatever they cost."""
    layers = {"train": {"steps": 3, "ema": 0.5}, "data": {"caption_dropout": 0.3}, "method": {"dropout": 0.2}}
    runs = [Run(train(quick(layers, {"sample": {"every": every}}), tmp_path / str(every)).run) for every in ("auto", 0)]
    states = [state_of(run, 3) for run in runs]
    assert equal(*states)
    losses = [[event["loss"] for event in events_of(run, "step")] for run in runs]
    assert losses[0] == losses[1]
    assert [list(run.list_snapshots()) for run in runs] == [[1, 2, 3], [3]]


@pytest.mark.usefixtures("quick_runs")
def test_by_itself_a_run_draws_before_during_and_after_and_says_how(quick, tmp_path):
    prompts = ["a fox", "an owl", "a ship"]
    result = train(quick({"train": {"steps": 12}, "sample": {"every": "auto", "prompts": prompts}}), tmp_path)
    run = Run(result.run)
    (plan, *_) = events_of(run, "previews")
    assert (plan["step"], plan["every"], plan["denoising"]) == (0, 2, 1)
    drawn = {path.name: len(list(path.glob("*.png"))) for path in run.samples.iterdir() if path.is_dir()}
    always = ("step-00000000", "step-00000004", "step-00000008", "step-00000012", "final")
    assert [drawn[name] for name in always] == [len(prompts)] * 5, drawn
    assert events_of(run, "start")[0]["prompts"] == prompts
    assert (run.samples / "final" / "00.png").samefile(run.samples / "step-00000012" / "00.png")
    assert result.difference is not None and result.difference <= 2
    assert list(run.list_snapshots()) == [2, 4, 6, 8, 10, 12]
    phases = [event["phase"] for event in events_of(run, "phase")]
    assert phases[:4] == ["images", "load", "before", "train"] and phases[-2:] == ["export", "after"]
    assert {"previews"} == set(phases[4:-2]) - {"train"}


@pytest.mark.usefixtures("quick_runs")
def test_a_stopped_run_draws_every_prompt_however_long_it_takes(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(Forecast, "picture", 60.0)  # seconds, as on a slow computer
    run = Run(tmp_path / "dusk")
    result = train(quick(SAMPLED), tmp_path, listener=stopping_at(run, 3))
    assert (result.stopped_by, result.steps, result.difference) == ("request", 3, None)
    assert result.grid == run.samples / "before-after.png" and result.grid.is_file()
    assert len(list((run.samples / "step-00000003").glob("*.png"))) == 2
    assert list(run.list_snapshots()) == [2, 3] and run.asked_to_stop() is None
    assert equal(style_tensors(run.snapshot(3)), style_tensors(result.style))
    kinds = [event["type"] for event in read_events(run.folder)]
    assert kinds[-1] == "note" and kinds.index("stopped") > kinds.index("export")
    whole = resume(run)
    assert whole.grid is not None and whole.difference is not None and list(run.list_snapshots()) == [2, 3, 4]


@pytest.mark.usefixtures("quick_runs")
def test_a_slow_run_draws_every_prompt_at_its_thirds_and_where_it_is_stopped(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(Forecast, "picture", 60.0)
    run, prompts = Run(tmp_path / "dusk"), ["a fox", "an owl", "a ship"]
    layers = {"train": {"steps": 12}, "sample": {"every": "auto", "prompts": prompts}}
    train(quick(layers), tmp_path, listener=stopping_at(run, 11))
    drawn = {path.name: len(list(path.glob("*.png"))) for path in run.samples.iterdir() if path.is_dir()}
    assert drawn == {f"step-{step:08d}": 3 for step in (0, 4, 8, 11)}
    messages = [event["message"] for event in events_of(run, "previews")]
    assert len(messages) == 2 and messages[1].startswith("0 of 3 previews at step 2: "), "said once"


@pytest.mark.usefixtures("quick_runs")
def test_a_third_cut_short_is_drawn_whole_by_the_resumed_run(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(Forecast, "picture", 60.0)
    prompts = ["a fox", "an owl", "a ship"]
    layers = {"train": {"steps": 6}, "save": {"every": 1}, "sample": {"every": "auto", "prompts": prompts}}
    whole, cut = (Run(tmp_path / name / "dusk") for name in ("whole", "cut"))

    def kill(event: Event) -> None:
        if event["type"] == "drawing" and (event["step"], event["picture"]) == (2, 2):
            raise KeyboardInterrupt

    train(quick(layers), whole.folder.parent)
    with pytest.raises(KeyboardInterrupt):
        train(quick(layers), cut.folder.parent, listener=kill)
    third = cut.samples / "step-00000002"
    assert len(list(third.glob("*.png"))) == 1
    resume(cut)
    assert equal(state_of(whole, 6), state_of(cut, 6)) and len(list(third.glob("*.png"))) == 3
    for path in third.iterdir():
        assert path.read_bytes() == (whole.samples / third.name / path.name).read_bytes()


@pytest.mark.usefixtures("quick_runs")
def test_a_second_request_skips_the_last_pictures(quick, tmp_path):
    run = Run(tmp_path / "dusk")

    def listen(event: Event) -> None:
        if event["type"] == "step" and event["step"] == 3:
            run.ask_to_stop()
        if event["type"] == "phase" and event["phase"] == "after":
            run.ask_to_stop()

    result = train(quick(SAMPLED), tmp_path, listener=listen)
    assert (result.stopped_by, result.grid) == ("request", None) and result.style is not None
    assert not (run.samples / "step-00000003").exists() and run.asked_to_stop() is None
    assert events_of(run, "stopped")[0]["step"] == 3


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize(("how", "said"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_run_that_is_to_pause_draws_nothing_more(how, said, quick, tmp_path):
    run = Run(tmp_path / "dusk")

    def listen(event: Event) -> None:
        if event["type"] == "drawing" and event["step"] == 2:
            run.ask_to_stop(how)

    result = train(quick(SAMPLED), tmp_path, listener=listen)
    assert (result.stopped_by, result.steps, result.style) == (how, 2, None)
    assert [event["type"] for event in read_events(run.folder)][-1] == said
    assert not (run.samples / "step-00000002").exists() and list(run.list_snapshots()) == []
    if how == "pause":
        resume(run)  # what it did not draw then it draws now
        assert len(list((run.samples / "step-00000002").glob("*.png"))) == 2 and list(run.list_snapshots()) == [2, 4]


@pytest.mark.usefixtures("quick_runs")
def test_a_run_that_is_cancelled_while_it_draws_at_first_takes_no_further_step(quick, tmp_path, monkeypatch):
    monkeypatch.setattr("trainers.training.previews.OFTEN", 0.0)
    run, after = Run(tmp_path / "dusk"), []

    def listen(event: Event) -> None:
        if run.asked_to_stop() is not None:
            after.append(event["type"])
        elif event["type"] == "denoising" and event["step"] == 0:
            run.ask_to_stop("cancel")

    result = train(quick(SAMPLED), tmp_path, listener=listen)
    assert (result.stopped_by, result.steps, result.style) == ("cancel", 0, None)
    assert not {"denoising", "step"} & set(after) and after.count("drawing") <= 1, "it ends in the next drawing step"
    assert list(read_events(run.folder))[-1]["type"] == "cancelled"


@pytest.mark.usefixtures("quick_runs")
def test_the_time_left_counts_down_to_the_end(quick, tmp_path):
    layers = {"train": {"steps": 4}, "sample": {"every": 2, "prompts": ["a fox", "an owl"]}}
    run = Run(train(quick(layers), tmp_path).run)
    events = list(read_events(run.folder))
    said = [(event["time"], event["seconds_left"]) for event in events if event.get("seconds_left") is not None]
    assert events_of(run, "step")[0]["seconds_left"] is not None
    assert events_of(run, "drawing")[0]["seconds_left"] is None  # before anything was measured
    end = events[-1]["time"]
    assert said[-1][1] < said[0][1] and said[-1][1] < 5 and end - said[-1][0] < 5


@pytest.mark.usefixtures("quick_runs")
def test_images_kept_out_of_training_are_measured_at_each_sampled_step(quick, tmp_path):
    layers = {"train": {"steps": 2, "learning_rate": 1e-3}, "data": {"held_out": 0.3}, "sample": {"every": 1}}
    run = Run(train(quick(layers), tmp_path / "held").run)
    assert events_of(run, "start")[0]["images"] == 2  # of three
    losses = {event["step"]: event["loss"] for event in events_of(run, "held_out")}
    assert list(losses) == [0, 1, 2] and len(set(losses.values())) == 3
    again = Run(train(quick(layers, {"sample": {"every": 2}}), tmp_path / "again").run)
    fewer = {event["step"]: event["loss"] for event in events_of(again, "held_out")}
    assert list(fewer) == [0, 2] and fewer.items() <= losses.items()
    assert equal(state_of(run, 2), state_of(again, 2))  # and measuring changes nothing


@pytest.mark.usefixtures("quick_runs")
def test_of_one_image_none_can_be_kept_out(tiny_bases, tmp_path):
    alone = write_images(tmp_path / "images", {"fox": (64, 64)})
    with pytest.raises(VelaturaError, match=r"data\.held_out .* needs at least two; found one"):
        train(quick_settings(tiny_bases["sd1"], alone, {"data": {"held_out": 0.3}}), tmp_path / "out")
