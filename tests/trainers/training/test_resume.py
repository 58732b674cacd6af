"""A cut run goes on as if nothing had been: the same bits, whatever is drawn and kept along the way."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.faults import Cut, Ended, Fault, faulty
from tests.trainers.tiny_runs import (
    ALONE,
    EVERYTHING,
    METHODS,
    both,
    cut_and_resume,
    equal,
    events_of,
    files_in,
    quick_settings,
    state_of,
    stopping_at,
    style_tensors,
)
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.runs.events import Recorder
from trainers.runs.run import Run, open_run
from trainers.training import opening
from trainers.training.reopen import export_again
from trainers.training.train import resume, train

pytestmark = pytest.mark.usefixtures("no_pictures")

PIVOTAL = {"word": "<dusk>", "vectors": 2, "norm_prior": 0.2, "stop": 0.75}


BLOCKS = {"targets": {"unet": "attn-mlp", "text_encoder": "attn-mlp"}}
TOKENS = {"train": {"steps": 4, "ema": 0.9}, "data": {"caption_dropout": 0.5}}


def rarely(*case: Any) -> Any:
    """A case like another, or with no state of its own; `test_optim.py` and `test_training_step.py` take each in."""
    return pytest.param(*case, marks=pytest.mark.thorough)


@pytest.mark.parametrize(
    ("layer", "cuts"),
    [
        (EVERYTHING, (2, 4)),
        rarely({"train": {"steps": 4, "optimizer": "prodigy", "learning_rate": 1.0}}, (2,)),
        ({"train": {"steps": 4, "optimizer": "schedule-free"}, "sample": {"every": 2}}, (2,)),
        rarely({"train": {"steps": 4, "optimizer": "prodigy-schedule-free", "learning_rate": 1.0}}, (2,)),
        rarely({"train": {"steps": 4, "optimizer": "came", "max_norm": 1e-3, "schedule": "rex"}}, (2,)),
        rarely({"train": {"steps": 4, "optimizer": "lion"}, "method": METHODS["loha"]}, (1,)),
        rarely({"train": {"steps": 4, "optimizer": "adafactor"}, "method": METHODS["lokr"]}, (2,)),
        rarely({"train": {"steps": 3}, "method": METHODS["tied"], "base": {"storage": "nf4"}}, (2,)),
        rarely({"train": {"steps": 6, "accumulation": 2}, "method": METHODS["dylora"]}, (3,)),
        rarely({"train": {"steps": 6, "ema": 0.9}, "method": METHODS["adalora"]}, (2, 5)),
        rarely({"train": {"steps": 6, "schedule": "cosine", "ema": 0.9}, "method": METHODS["sora"]}, (3,)),
        ({"train": {"steps": 5}, "method": METHODS["selora"]}, (2, 4)),
        rarely({"train": {"steps": 4, "weight_decay": 0.3}, "method": {"start": "pissa", "dora": True}}, (2,)),
        rarely({"train": {"steps": 4, "weight_decay": 0.3}, "method": METHODS["t-lora"]}, (2,)),
        rarely(EVERYTHING | BLOCKS | {"method": METHODS["adapter"] | {"module_dropout": 0.3}}, (2, 4)),
        rarely(TOKENS | {"method": METHODS["vpt"] | {"deep": False, "gated": True, "unconditional": False}}, (2,)),
        ({"train": {"steps": 4, "ema": 0.9}, "tokens": PIVOTAL, "targets": {"text_encoder": "attn"}}, (2,)),
        rarely(both(ALONE, {"train": {"gradient_checkpointing": True}}), (2,)),
    ],
    ids=[
        "everything",
        "prodigy",
        "schedule-free",
        "prodigy-schedule-free",
        "came",
        "lion",
        "adafactor",
        "tied-nf4",
        "dylora",
        "adalora",
        "sora",
        "selora",
        "pissa-dora",
        "t-lora",
        "adapter",
        "vpt",
        "word beside",
        "word alone",
    ],
)
def test_a_cut_run_ends_with_the_bits_of_an_uncut_one(layer, cuts, quick, tmp_path):
    config = quick(layer)
    whole = train(config, tmp_path / "whole")
    again = cut_and_resume(config, tmp_path / "cut", *cuts)
    last = config.train.steps
    states = [state_of(Run(result.run), last) for result in (whole, again)]
    kinds = {name.split()[0] for name in states[0]}
    assert kinds == ({"network", "optimizer", "average"} if config.train.averages else {"network", "optimizer"})
    assert equal(*states)
    assert equal(style_tensors(whole.style), style_tensors(again.style))
    anew = export_again(Run(again.run), tmp_path / "anew.safetensors", rank=None, overwrite=False)
    assert equal(style_tensors(whole.style), style_tensors(anew))
    assert Run(again.run).checkpoint_steps() == [last - 1, last]
    assert whole.grid is not None and again.grid is not None
    losses = [[e["loss"] for e in events_of(Run(result.run), "step")] for result in (whole, again)]
    assert losses[0] == losses[1] and len(losses[0]) == last


def test_pictures_of_an_average_leave_the_bits_of_the_run(quick, tmp_path):
    runs = [
        train(
            quick({"train": {"steps": 4, "optimizer": "schedule-free"}, "sample": {"every": every}}),
            tmp_path / str(every),
        )
        for every in (0, 1)
    ]
    assert equal(*(state_of(Run(run.run), 4) for run in runs))
    assert equal(*(style_tensors(run.style) for run in runs))
    state = state_of(Run(runs[0].run), 4)
    averaged = {name.removeprefix("average "): tensor for name, tensor in state.items() if name.startswith("average")}
    live = {name.removeprefix("network "): tensor for name, tensor in state.items() if name.startswith("network")}
    assert averaged.keys() <= live.keys() and not any(torch.equal(averaged[name], live[name]) for name in averaged)


@pytest.mark.thorough
@pytest.mark.parametrize("name", METHODS)
def test_a_cut_run_of_every_method_does(name, quick, tmp_path):
    layer = {"train": {"steps": 4}, "method": METHODS[name], "targets": {"unet": "full"}}
    test_a_cut_run_ends_with_the_bits_of_an_uncut_one(layer, (2,), quick, tmp_path)


STOPPED = {"targets": {"text_encoder": "attn"}, "train": {"steps": 4, "text_encoder_stop": 0.5}, "save": {"keep": 9}}


@pytest.mark.parametrize("method", ["adalora", *(rarely(name) for name in ("lora", "sora", "selora"))])
def test_the_text_encoder_stays_as_it_is_once_stopped(quick, tmp_path, method):
    config = quick(STOPPED, {"method": METHODS[method]})
    run = Run(train(config, tmp_path).run)
    networks = {
        step: {name: t for name, t in state_of(run, step).items() if name.startswith("network")}
        for step in run.checkpoint_steps()
    }
    text = {s: {n: t for n, t in tensors.items() if "text_encoder" in n} for s, tensors in networks.items()}
    unet = {s: {n: t for n, t in tensors.items() if "unet" in n} for s, tensors in networks.items()}
    assert text[2] and not equal(text[1], text[2])  # stopped after half of 4 steps
    assert equal(text[2], text[3]) and equal(text[3], text[4])
    assert not equal(unet[2], unet[3]) and not equal(unet[3], unet[4])


def test_what_a_stopped_text_encoder_shares_stays_too(quick, tmp_path):
    config = quick(STOPPED, {"method": METHODS["tied"], "train": {"steps": 3, "text_encoder_stop": 0.6}})
    run = Run(train(config, tmp_path).run)
    shared: dict[str, dict[int, dict[str, Any]]] = {"unet": {}, "text_encoder": {}}
    for step in (1, 2, 3):
        state = state_of(run, step)
        for index, part in enumerate(shared):
            shared[part][step] = {n: t for n, t in state.items() if n.startswith(f"network shared.{index}.")}
    text, unet = shared["text_encoder"], shared["unet"]
    assert text[2] and not equal(text[1], text[2]) and equal(text[2], text[3])
    assert unet[2] and not equal(unet[2], unet[3])


def test_a_checkpoint_of_other_random_matrices_is_refused(quick, tmp_path):
    config = quick({"train": {"steps": 3}, "method": METHODS["vera"]})
    run = Run(tmp_path / "dusk")
    train(config, tmp_path, listener=stopping_at(run, 2))
    written = run.folder / "config.toml"
    text = written.read_text(encoding="utf-8")
    assert "seed = 0" in text
    written.write_text(text.replace("seed = 0", "seed = 1", 1), encoding="utf-8")
    with pytest.raises(VelaturaError, match=r"VeRA's random matrices.*store_projections = true"):
        resume(run)


def test_the_gradient_scaler_goes_on_at_its_scale(quick, tmp_path, monkeypatch):
    config = quick({"train": {"steps": 9, "learning_rate": 1e-6}, "method": {"alpha": 4096.0}})
    make = opening.make_accelerator

    def with_scaler(*args: Any) -> Any:
        accelerator = make(*args)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=3)
        return accelerator

    monkeypatch.setattr(opening, "make_accelerator", with_scaler)
    whole = Run(train(config, tmp_path / "whole").run)
    cut = Run(cut_and_resume(config, tmp_path / "cut", 5).run)
    skipped = [[event["step"] for event in events_of(run, "skipped")] for run in (whole, cut)]
    assert skipped[0] == skipped[1] and len(skipped[0]) > 1, "a fresh scaler would skip again"
    assert equal(state_of(whole, 9), state_of(cut, 9))


def test_images_that_are_gone_or_changed_are_said_before_the_first_step(cut, tmp_path):
    folder = Path(shutil.copytree(cut[0], tmp_path / "dusk"))
    run, (first, second, *_) = Run(folder), sorted((folder / "dataset").glob("*.png"))
    first.unlink()
    second.with_suffix(".txt").write_text("another caption")
    before = files_in(folder)
    words = f"the images of dusk are .*gone: {first.name}; changed: {second.stem}.txt.*put them back, or continue"
    with pytest.raises(VelaturaError, match=words) as raised:
        resume(run)
    assert raised.value.code == "changed_images" and files_in(folder) - before == set()
    assert events_of(run, "error")[-1]["code"] == "changed_images" and len(events_of(run, "start")) == 1
    result = resume(run, changed_images=True)
    assert result.steps == 4
    assert [event["message"] for event in events_of(run, "note") if "other images" in event["message"]]
    assert resume(run, steps=5).steps == 5, "it is asked once"


def test_a_run_of_an_older_version_goes_on_whatever_its_images_are(cut, tmp_path):
    folder = Path(shutil.copytree(cut[0], tmp_path / "dusk"))
    (folder / "dataset.json").unlink()
    min((folder / "dataset").glob("*.png")).unlink()
    assert resume(Run(folder)).steps == 4 and (folder / "dataset.json").is_file()


def test_a_run_that_has_lost_its_events_goes_on_with_the_same_bits(cut, tmp_path):
    folder = shutil.copytree(cut[0], tmp_path / "dusk")
    (folder / "events.jsonl").unlink()
    assert equal(style_tensors(resume(open_run(folder)).style), cut[1])


def test_a_complete_run_goes_on_only_with_more_steps(quick, tmp_path):
    run = Run(train(quick(), tmp_path).run)
    before = (run.folder / "config.toml").read_bytes()
    for steps in (None, 1, 2):
        with pytest.raises(VelaturaError, match="is complete at step 2; to train longer, set more --steps"):
            resume(run, steps=steps)
    with pytest.raises(VelaturaError, match=r"train\.steps = 0"):
        resume(run, steps=0)
    assert (run.folder / "config.toml").read_bytes() == before
    longer = resume(run, steps=3)
    assert longer.steps == 3 and run.config().train.steps == 3
    straight = train(quick({"train": {"steps": 3}}), tmp_path / "straight")
    assert equal(style_tensors(longer.style), style_tensors(straight.style))  # the schedule is constant


def flip(path: Path, count: int = 64) -> None:
    """Change bytes in the middle of a file, as a disk or a memory that fails does."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + count] = bytes(byte ^ 0x5A for byte in data[middle : middle + count])
    path.write_bytes(data)


@pytest.fixture(scope="module")
def cut(quick_settings_of_four, tmp_path_factory) -> tuple[Path, dict]:
    """A run of 4 steps that was stopped after the third, and the tensors of one that was not."""
    folder = tmp_path_factory.mktemp("cut")
    whole = style_tensors(train(quick_settings_of_four, folder / "whole").style)
    train(quick_settings_of_four, folder, listener=stopping_at(Run(folder / "dusk"), 3))
    return folder / "dusk", whole


@pytest.fixture(scope="module")
def quick_settings_of_four(tiny_bases, images) -> Config:
    return quick_settings(tiny_bases["sd1"], images, {"train": {"steps": 4, "ema": 0.9}})


@pytest.mark.parametrize(
    ("sums", "name", "damage"),
    [
        (True, "network.safetensors", "flipped"),
        rarely(True, "average.safetensors", "flipped"),
        rarely(True, "optimizer.pt", "flipped"),
        rarely(True, "progress.json", "flipped"),
        (True, "SHA256SUMS", "flipped"),
        (True, "average.safetensors", "missing"),
        rarely(True, "network.safetensors", "cut"),
        rarely(False, "network.safetensors", "cut"),  # of an older version, which wrote no sums
        (False, "optimizer.pt", "cut"),
        (False, "progress.json", "flipped"),
        rarely(False, "network.safetensors", "missing"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_and_the_style_has_the_same_bits(cut, sums, name, damage, tmp_path):
    run = Run(Path(shutil.copytree(cut[0], tmp_path / "dusk")))
    assert run.checkpoint_steps() == [2, 3]
    for step in (2, 3) if not sums else ():
        (run.checkpoint(step) / "SHA256SUMS").unlink()
    file = run.checkpoint(3) / name
    match damage:
        case "flipped":
            flip(file)
        case "cut":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        case _:
            file.unlink()
    kept = []
    result = resume(run, lambda _: kept.append(run.damaged_checkpoint(3).is_dir()))
    assert equal(style_tensors(result.style), cut[1])
    (event,) = events_of(run, "damaged")
    assert (event["step"], event["saved"]) == (3, 2)
    assert event["message"] == "the checkpoint of step 3 is damaged: training continues from step 2"
    assert kept[-1] and not run.damaged_checkpoint(3).exists(), "it is kept until the end, and no longer"
    assert run.checkpoint_steps() == [3, 4]


def test_a_sound_checkpoint_is_never_set_aside(cut, tmp_path):
    run = Run(Path(shutil.copytree(cut[0], tmp_path / "dusk")))
    assert equal(style_tensors(resume(run).style), cut[1]) and events_of(run, "damaged") == []


def test_a_run_whose_checkpoints_are_all_damaged_keeps_them_and_says_so(cut, tmp_path):
    run = Run(Path(shutil.copytree(cut[0], tmp_path / "dusk")))
    for step in (2, 3):
        flip(run.checkpoint(step) / "network.safetensors")
    with pytest.raises(VelaturaError, match=r"every checkpoint of .*dusk is damaged; .* restart the run from zero"):
        resume(run)
    assert run.damaged_checkpoint(2).is_dir() and run.damaged_checkpoint(3).is_dir()
    with pytest.raises(VelaturaError, match="has no checkpoint left to resume from"):
        resume(run)


def test_a_run_without_a_checkpoint_is_a_sentence(quick, tmp_path):
    run = Run(train(quick(), tmp_path).run)
    for step in run.checkpoint_steps():
        run.checkpoint(step).rename(run.folder / f"moved-{step}")
    with pytest.raises(VelaturaError, match="has no checkpoint left to resume from"):
        resume(run)


def test_a_run_that_is_restarted_from_zero_trains_although_it_had_saved_before(quick, tmp_path):
    whole = train(quick(), tmp_path)
    run = Run(whole.run)
    before = style_tensors(whole.style)
    for folder in (run.checkpoints, run.samples, run.style):
        shutil.rmtree(folder, ignore_errors=True)
    Recorder(run.folder)("anew")
    again = resume(run)
    assert again.steps == 2 and [event["resumed"] for event in events_of(run, "start")] == [False, False]
    assert equal(style_tensors(again.style), before)
    with pytest.raises(VelaturaError, match="is complete at step 2"):  # of this attempt, as of any other
        resume(run)


def test_a_run_killed_between_its_last_checkpoint_and_its_export_can_be_finished(quick, tmp_path):
    config = quick()

    def fail(event: dict[str, Any]) -> None:
        if event["type"] == "checkpoint" and event["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, listener=fail)
    result = resume(Run(tmp_path / "dusk"))
    assert result.steps == 2 and result.grid is not None
    assert equal(style_tensors(result.style), style_tensors(train(config, tmp_path / "b").style))


def test_a_run_cut_before_it_saved_anything_begins_anew(quick, tmp_path):
    config = quick()

    def fail(event: dict[str, Any]) -> None:
        if event["type"] == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", listener=fail)
    run = Run(tmp_path / "cut" / "dusk")
    assert run.checkpoint_steps() == []
    assert equal(style_tensors(resume(run).style), style_tensors(train(config, tmp_path / "whole").style))
    assert [event["resumed"] for event in events_of(run, "start")] == [False, False]


def test_a_run_that_is_killed_at_some_change_of_the_disk_goes_on_with_the_same_bits(quick, tmp_path):
    config = quick({"train": {"steps": 3}, "save": {"every": 1}})
    counted = Cut(tmp_path / "whole")
    with faulty(Fault.KILL, 10**9, counted):
        whole = style_tensors(train(config, counted.place).style)
    saves = [number for number, change in enumerate(counted.changes) if ".step-0000000" in change]
    exports = [number for number, change in enumerate(counted.changes) if "/style/" in change]
    for number in (saves[len(saves) // 2], exports[0] + 2):
        cut = Cut(tmp_path / str(number))
        with faulty(Fault.KILL, number, cut):
            train(config, cut.place)
        run = Run(cut.place / "dusk")
        assert isinstance(cut.error, Ended) and equal(style_tensors(resume(run).style), whole), cut.change
        assert not any("unfinished" in name or ".part" in name for name in files_in(run.folder)), cut.change
