"""Real runs from settings to style file on tiny bases: what they leave, how they end, and how they go on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pydantic.dataclasses import dataclass

from tests.trainers.runs import (
    equal,
    events_of,
    files_in,
    quick_settings,
    state_of,
    stopping_at,
    style_metadata,
    style_tensors,
    write_images,
)
from trainers.adapters import LoRA
from trainers.adapters.method import SETTINGS
from trainers.config import Config
from trainers.config_file import dump_config, read_config
from trainers.errors import VelaturaError
from trainers.events import read_events
from trainers.run import Run
from trainers.train import Result, resume, train

pytestmark = pytest.mark.usefixtures("quick_collection")

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "rank": 3, "alpha": 2.0},
    "loha": {"name": "loha", "rank": 3, "alpha": 2.0},
    "lokr": {"name": "lokr", "rank": 3, "alpha": 2.0, "factor": 4},
}


@pytest.fixture
def quick(tiny_bases, images):
    """Settings of a quick run on the tiny SD 1, with tables laid over them."""
    return lambda *layers: quick_settings(tiny_bases["sd1"], images, *layers)


# ---------------------------------------------------------------------------------------------- every family, method
@pytest.mark.parametrize("family", ["sd1", "sd2", "sd2-v", "sdxl"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_every_family(family, method, tiny_bases, images, tmp_path):
    text = method == "lora"
    layers = {
        "method": METHODS[method],
        "targets": {"unet": "full", "text_encoder": "attn-mlp" if text else "none"},
        "data": {"resolution": 64},
        "train": {"learning_rate": 2e-3},
        "sample": {"steps": 2, "size": 32},
    }
    result = train(quick_settings(tiny_bases[family], images, layers), tmp_path)
    run, tensors = Run(result.run), style_tensors(result.style)
    assert result.steps == 2 and result.stopped_by == "" and result.parameters > 0
    # The file's pictures, drawn on a base loaded afresh, are those of the live adapter, but for rounding.
    assert result.difference is not None and result.difference <= 2
    drawn = [Image.open(run.samples / name / "00.png") for name in ("step-00000000", "step-00000002", "final")]
    assert len({picture.size for picture in drawn}) == 1 and drawn[0].tobytes() != drawn[2].tobytes()
    encoders = {key.split("_")[1] for key in tensors if not key.startswith("lora_unet_")}
    assert encoders == ({"te1", "te2"} if family == "sdxl" else {"te"} if text else set()) if text else not encoders
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    assert style_metadata(result.style)["velatura.family"] == family[:3].rstrip("-") or family == "sdxl"
    (start,) = events_of(run, "start")
    assert start["parameters"] == result.parameters and start["images"] == 3 and not start["resumed"]
    assert [event["step"] for event in events_of(run, "step")] == [1, 2]
    assert not any("unfinished" in name for name in files_in(tmp_path))


def test_the_base_is_let_go_before_another_is_loaded(quick, tmp_path, monkeypatch):
    """No more than one base is in memory: the real sizes would not fit twice."""
    from trainers import previews
    from trainers import train as training

    alive: list[weakref.ref] = []
    counts = []

    def watched(load):
        def loading(*arguments):
            counts.append(sum(reference() is not None for reference in alive))
            model = load(*arguments)
            alive.append(weakref.ref(model.unet))
            return model

        return loading

    for module in (previews, training):
        monkeypatch.setattr(module, "load_model", watched(module.load_model))
    train(quick({"train": {"ema": 0.5}}), tmp_path)
    assert counts == [0, 0]


# ---------------------------------------------------------------------------------------------- going on after a cut
EVERYTHING = {
    "method": {"dropout": 0.2, "rank_dropout": 0.2, "module_dropout": 0.1},
    "targets": {"text_encoder": "attn"},
    "data": {"flip": True, "crop": "random", "caption_dropout": 0.2, "shuffle_tags": True},
    "train": {
        "steps": 5,
        "accumulation": 2,
        "ema": 0.9,
        "text_encoder_stop": 0.6,
        "schedule": "cosine",
        "warmup": 1,
        "gradient_checkpointing": True,
    },
    "loss": {"noise_offset": 0.1},
}


def cut_and_resume(config: Config, out: Path, *cuts: int) -> Result:
    run = Run(out / config.name)
    result = train(config, out, listener=stopping_at(run, cuts[0]))
    assert (result.steps, result.stopped_by, result.grid) == (cuts[0], "request", None)
    for cut in cuts[1:]:
        assert resume(run, stopping_at(run, cut)).steps == cut
    return resume(run)


@pytest.mark.parametrize(
    ("layer", "cuts"),
    [
        (EVERYTHING, (2, 4)),
        ({"train": {"steps": 4, "optimizer": "prodigy", "learning_rate": 1.0}}, (2,)),
        ({"train": {"steps": 4, "optimizer": "lion"}, "method": METHODS["loha"]}, (1,)),
        ({"train": {"steps": 4, "optimizer": "adafactor"}, "method": METHODS["lokr"]}, (2,)),
    ],
    ids=["everything", "prodigy", "lion", "adafactor"],
)
def test_a_cut_run_ends_with_the_bits_of_an_uncut_one(layer, cuts, quick, tmp_path):
    config = quick(layer)
    whole = train(config, tmp_path / "whole")
    again = cut_and_resume(config, tmp_path / "cut", *cuts)
    last = config.train.steps
    states = [state_of(Run(result.run), last) for result in (whole, again)]
    kinds = {name.split()[0] for name in states[0]}
    assert kinds == ({"network", "optimizer", "average"} if config.train.ema else {"network", "optimizer"})
    assert equal(*states)
    assert equal(style_tensors(whole.style), style_tensors(again.style))
    assert Run(again.run).checkpoint_steps() == [last - 1, last]
    assert whole.grid is not None and again.grid is not None
    losses = [[e["loss"] for e in events_of(Run(result.run), "step")] for result in (whole, again)]
    assert losses[0] == losses[1] and len(losses[0]) == last


def test_the_text_encoder_stays_as_it_is_once_stopped(quick, tmp_path):
    config = quick(EVERYTHING, {"save": {"keep": 9}})
    run = Run(train(config, tmp_path).run)
    networks = {
        step: {name: t for name, t in state_of(run, step).items() if name.startswith("network")}
        for step in run.checkpoint_steps()
    }
    text = {s: {n: t for n, t in tensors.items() if "text_encoder" in n} for s, tensors in networks.items()}
    unet = {s: {n: t for n, t in tensors.items() if "unet" in n} for s, tensors in networks.items()}
    assert text[3] and not equal(text[2], text[3])  # stopped after 0.6 of 5 steps
    assert equal(text[3], text[4]) and equal(text[4], text[5])
    assert not equal(unet[3], unet[4]) and not equal(unet[4], unet[5])


def test_the_config_of_a_run_folder_trains_the_same_again(quick, tmp_path):
    first = train(quick(EVERYTHING), tmp_path / "a")
    config = read_config(first.run / "config.toml")
    assert config.data.images == str(first.run / "dataset")
    second = train(config, tmp_path / "b")
    assert equal(style_tensors(first.style), style_tensors(second.style))
    assert (first.run / "config.toml").read_bytes() == (second.run / "config.toml").read_bytes()
    for name in ("step-00000000/00.png", "final/00.png"):
        assert (first.run / "samples" / name).read_bytes() == (second.run / "samples" / name).read_bytes()


def test_a_complete_run_goes_on_only_with_more_steps(quick, tmp_path):
    run = Run(train(quick(), tmp_path).run)
    before = (run.folder / "config.toml").read_bytes()
    for steps in (None, 1, 2):
        with pytest.raises(VelaturaError, match="is complete at step 2; give more --steps"):
            resume(run, steps=steps)
    with pytest.raises(VelaturaError, match=r"train\.steps = 0"):
        resume(run, steps=0)
    assert (run.folder / "config.toml").read_bytes() == before
    longer = resume(run, steps=3)
    assert longer.steps == 3 and run.config().train.steps == 3
    straight = train(quick({"train": {"steps": 3}}), tmp_path / "straight")
    assert equal(style_tensors(longer.style), style_tensors(straight.style))  # the schedule is constant


def test_a_run_without_a_checkpoint_or_with_a_damaged_one_is_a_sentence(quick, tmp_path):
    config = quick({"train": {"steps": 4}})
    run = Run(tmp_path / "dusk")
    train(config, tmp_path, listener=stopping_at(run, 3))
    newest = run.checkpoint(3) / "optimizer.pt"
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.raises(VelaturaError, match=r"step-00000003 cannot be used: it is damaged.*delete that folder"):
        resume(run)
    for path in (*run.checkpoint(3).iterdir(), run.checkpoint(3)):
        path.unlink() if path.is_file() else path.rmdir()
    assert equal(style_tensors(resume(run).style), style_tensors(train(config, tmp_path / "b").style))
    for step in run.checkpoint_steps():
        run.checkpoint(step).rename(run.folder / f"moved-{step}")
    with pytest.raises(VelaturaError, match="has no checkpoint to resume from"):
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


# ---------------------------------------------------------------------------------------------- real processes
DRIVER = """
import sys
from pathlib import Path
import torch
from trainers.config_file import dump_config, read_config
from trainers.train import train
torch.set_num_threads(int(sys.argv[3]))
train(read_config(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@contextmanager
def training_process(config: Config, out: Path) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, which is killed at the end if it is still there."""
    file = out.parent / f"{out.name}.toml"
    file.write_text(dump_config(config), encoding="utf-8")
    arguments = [sys.executable, "-c", DRIVER, str(file), str(out), str(torch.get_num_threads())]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(kind: str, step: int, run: Run, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not any(event["step"] >= step for event in events_of(run, kind)):
        assert process.poll() is None and time.monotonic() < deadline, "the run never came that far"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_its_step_with_everything_saved(number, images, tmp_path):
    layers = {
        "data": {"resolution": 64},
        "train": {"steps": 5000, "learning_rate": 1e-3},
        "save": {"every": 5000},
        "sample": {"size": 64},
    }
    config, run = quick_settings("starter", images, layers), Run(tmp_path / "runs" / "dusk")
    with training_process(config, tmp_path / "runs") as process:
        wait_for("step", 2, run, process)
        process.send_signal(number)
        assert process.wait(60) == 0, process.stderr.read() if process.stderr else ""
    (stopped,) = events_of(run, "stopped")
    done = stopped["step"]
    assert 2 <= done < 5000 and run.checkpoint_steps() == [done]
    assert len(events_of(run, "step")) == done
    style = run.style / "dusk.safetensors"
    assert style_metadata(style)["ss_steps"] == str(done)
    assert any("stopped at step" in event["message"] for event in events_of(run, "note"))
    result = resume(run, steps=done + 1)
    assert (result.steps, result.stopped_by) == (done + 1, "") and result.grid is not None


def test_a_killed_run_goes_on_with_the_bits_of_an_uncut_one(quick, tmp_path):
    config = quick({"train": {"steps": 40, "ema": 0.9}, "save": {"every": 3}, "data": {"flip": True}})
    run = Run(tmp_path / "runs" / "dusk")
    with training_process(config, tmp_path / "runs") as process:
        wait_for("checkpoint", 3, run, process)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    assert 3 <= run.checkpoint_steps()[-1] < 40 and not run.style.exists()
    again, whole = resume(run), train(config, tmp_path / "whole")
    assert equal(style_tensors(whole.style), style_tensors(again.style))
    assert equal(state_of(Run(whole.run), 40), state_of(run, 40))


def test_sigterm_during_the_preparation_leaves_nothing(quick, tmp_path):
    def fail(event: dict[str, Any]) -> None:
        if event["type"] == "images":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(quick(), tmp_path / "runs", listener=fail)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# ---------------------------------------------------------------------------------------------- memory and layers
def saved_numbers(config: Config, out: Path) -> tuple[int, dict[str, torch.Tensor]]:
    counts: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        counts.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = train(config, out)
    return sum(counts), state_of(Run(result.run), config.train.steps)


def test_gradient_checkpointing_keeps_less_and_gives_the_same_bits(quick, tmp_path):
    layers = {"targets": {"unet": "attn-mlp", "text_encoder": "attn"}, "method": {"dropout": 0.3}}
    plain, expected = saved_numbers(quick(layers), tmp_path / "a")
    less, found = saved_numbers(quick(layers, {"train": {"gradient_checkpointing": True}}), tmp_path / "b")
    assert less < 0.3 * plain
    assert equal(expected, found)
    moved = [name for name in found if "text_encoder" in name and name.endswith("B") and bool(found[name].any())]
    assert moved  # the text encoder has gradients behind its recomputed blocks


def test_a_step_that_leaves_out_every_layer_changes_nothing(quick, tmp_path):
    layers = {"method": {"module_dropout": 0.5}, "targets": {"unet": ["mid_block.*.attn2.to_k"]}}
    config = quick(layers, {"train": {"steps": 6, "weight_decay": 0.0}, "save": {"keep": 9}})
    run = Run(train(config, tmp_path).run)
    idle = [event["step"] for event in events_of(run, "step") if event["grad_norm"] == 0]
    assert idle and len(idle) < 6
    for step in idle:
        if step > 1:
            assert equal(*({n: t for n, t in state_of(run, s).items() if "network" in n} for s in (step - 1, step)))


# ---------------------------------------------------------------------------------------------- the contract's hooks
@dataclass(frozen=True, config=SETTINGS)
class Recording(LoRA):
    """A LoRA that writes down when it is called; the calls are the class's, since a method's values are frozen."""

    def begin_step(self, network, step):
        CALLS.append(("begin_step", step))

    def penalty(self, network):
        CALLS.append(("penalty", network.clock.now.draw))
        return 1e-3 * sum(p.square().sum() for p in network.parameters())

    def after_backward(self, network, step):
        assert any(p.grad is not None for p in network.parameters())
        CALLS.append(("after_backward", step))

    def after_step(self, network, step):
        CALLS.append(("after_step", step))

    def finish(self, network):
        assert not network.clock.now.training
        CALLS.append(("finish", len(network.sites)))


CALLS: list[tuple[str, int]] = []


def test_the_hooks_of_a_method_are_called_in_order(quick, tmp_path):
    CALLS.clear()
    config = quick({"train": {"accumulation": 2}})
    plain = train(config, tmp_path / "plain")
    method = Recording(rank=3, alpha=2.0)
    train(config.model_copy(update={"method": method}), tmp_path)
    sites = len(style_tensors(plain.style)) // 3
    steps = [
        [("begin_step", s), ("penalty", 2 * s), ("penalty", 2 * s + 1), ("after_backward", s), ("after_step", s)]
        for s in (0, 1)
    ]
    assert [*steps[0], *steps[1], ("finish", sites)] == CALLS
    losses = [[e["loss"] for e in events_of(Run(out / "dusk"), "step")] for out in (tmp_path / "plain", tmp_path)]
    assert losses[1][0] > losses[0][0]  # the penalty is in the loss


# ---------------------------------------------------------------------------------------------- numbers that are none
@dataclass(frozen=True, config=SETTINGS)
class Overflowing(LoRA):
    """A LoRA whose factor overflows after a step, or whose gradient does in one step only (0-based; −1 = never)."""

    theta_at: int = -1
    gradient_at: int = -1

    def after_backward(self, network, step):
        if step == self.gradient_at:
            next(p for p in network.parameters() if p.grad is not None).grad[0] = float("nan")

    def after_step(self, network, step):
        if step == self.theta_at:
            with torch.no_grad():
                network.sites[0].thetas[0].B[0] = float("inf")


def overflowing(config: Config, **at: int) -> Config:
    return config.model_copy(update={"method": Overflowing(rank=3, alpha=2.0, **at)})


def test_one_bad_step_is_left_out_and_the_run_goes_on(quick, tmp_path):
    config = overflowing(quick({"train": {"steps": 4, "ema": 0.9}, "save": {"keep": 9}}), gradient_at=1)
    result = train(config, tmp_path)
    run = Run(result.run)
    assert [event["step"] for event in events_of(run, "skipped")] == [2]
    assert events_of(run, "skipped")[0]["grad_norm"] == "nan"
    assert [event["step"] for event in events_of(run, "step")] == [1, 3, 4] and result.steps == 4
    assert run.checkpoint_steps() == [1, 3, 4]  # none at the bad step
    assert '"skipped": 1' in (run.checkpoint(4) / "progress.json").read_text()
    assert all(bool(tensor.isfinite().all()) for tensor in style_tensors(result.style).values())


def test_several_bad_steps_in_a_row_end_the_run_and_keep_the_last_good_checkpoint(quick, tmp_path):
    config = overflowing(quick({"train": {"steps": 12}, "save": {"every": 2}}), theta_at=2)
    words = r"not numbers 5 steps in a row, up to step 8; the checkpoint of step 2 is kept. Lower train.learning_rate"
    with pytest.raises(VelaturaError, match=words):
        train(config, tmp_path)
    run = Run(tmp_path / "dusk")
    assert run.checkpoint_steps() == [2]
    assert [event["step"] for event in events_of(run, "skipped")] == [4, 5, 6, 7, 8]
    assert [event["type"] for event in events_of(run, "error")] == ["error"]
    assert not files_in(run.style) if run.style.exists() else True
    # The folder's config names an ordinary LoRA, which goes on from the good checkpoint.
    assert resume(run).steps == 12


def test_what_overflowed_is_never_saved_or_exported(quick, tmp_path):
    config = overflowing(quick({"train": {"steps": 6}}), theta_at=1)
    with pytest.raises(VelaturaError, match=r"what is trained overflowed, up to step 2; the checkpoint of step 1 is"):
        train(config, tmp_path)
    run = Run(tmp_path / "dusk")
    assert run.checkpoint_steps() == [1] and not (run.style / "dusk.safetensors").exists()
    assert all(bool(tensor.isfinite().all()) for tensor in state_of(run, 1).values())


def test_a_learning_rate_beyond_reason_ends_in_advice(quick, tmp_path):
    layers = {"train": {"steps": 40, "learning_rate": 10.0, "max_grad_norm": 0, "weight_decay": 10.0}}
    with pytest.raises(VelaturaError, match=r"Lower train.learning_rate \(now 10, try 2.5\)"):
        train(quick(layers, {"method": {"alpha": 4096.0, "rank": 1}}), tmp_path)


# ---------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"base": {"model": "{nothing}"}}, "nothing"),
        ({"targets": {"unet": ["no.such.*"]}}, "'no.such.\\*' matches no layer"),
        ({"targets": {"blocks": {"attic": {"rank": 2}}}}, "matches none of the layers"),
        ({"train": {"precision": "fp16"}}, "fp16 does not work on a CPU"),
        ({"train": {"device": "gpu"}}, "is no device"),
        ({"data": {"images": "{nothing}"}}, "there is no such folder"),
        ({"data": {"images": ""}}, "no images were given"),
    ],
)
def test_a_preparation_that_fails_leaves_nothing(layer, words, quick, tmp_path):
    filled = {
        section: {key: str(tmp_path / "nothing") if value == "{nothing}" else value for key, value in table.items()}
        for section, table in layer.items()
    }
    with pytest.raises(VelaturaError, match=words) as caught:
        train(quick(filled), tmp_path / "made" / "out")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_replaced_only_if_asked_and_only_by_one_that_can_begin(quick, tmp_path):
    first = train(quick(), tmp_path)
    kept = first.style.read_bytes()
    with pytest.raises(VelaturaError, match="exists already"):
        train(quick(), tmp_path)
    with pytest.raises(VelaturaError, match="matches no layer"):
        train(quick({"targets": {"unet": ["no.such"]}}), tmp_path, overwrite=True)
    assert first.style.read_bytes() == kept
    second = train(quick({"seed": 5}), tmp_path, overwrite=True)
    assert not equal(style_tensors(second.style), style_tensors(train(quick(), tmp_path / "b").style))
    assert {path.name for path in tmp_path.iterdir()} == {"b", "dusk"}


def test_a_run_can_be_trained_anew_over_itself(quick, tmp_path):
    first = train(quick(), tmp_path)
    tensors = style_tensors(first.style)
    second = train(read_config(first.run / "config.toml"), tmp_path, overwrite=True)
    assert equal(tensors, style_tensors(second.style))


# ---------------------------------------------------------------------------------------------- a full disk
def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(quick, tmp_path, monkeypatch):
    """Every place that writes is refused in turn, at its first write, and nothing broken is left."""
    import trainers.data.ingest
    from trainers.run import Run as Folder

    room = {"ingest": 0, "cache": 0, "checkpoint": 0, "samples": 0, "events": 0, "export": 0}
    places = {
        "ingest": lambda path: path.parent.name == "dataset",
        "cache": lambda path: path.parent.parent.name == "cache",
        "checkpoint": lambda path: "step-00000002" in path.parent.name and path.name == "optimizer.pt",
        "samples": lambda path: path.parent.parent.name == "samples",
        "export": lambda path: path.parent.name == "style",
        "grid": lambda path: "before-after" in path.name,
        "events": lambda path: path.name == "events.jsonl" and path.parent.name == "dusk",
    }
    assert room.keys() <= places.keys() and trainers.data.ingest and Folder
    for place, is_there in places.items():
        out = tmp_path / place
        with monkeypatch.context() as patch:
            fill_the_disk(patch, is_there)
            with pytest.raises(VelaturaError, match=r"disk is full|No space left") as caught:
                train(quick(), out)
        assert "\n" not in str(caught.value)
        left = files_in(tmp_path)
        assert not any(".part" in name or "unfinished" in name for name in left), place
        if place == "ingest":
            assert not out.exists()
            continue
        run = Run(out / "dusk")
        assert run.checkpoint_steps() == {"cache": [], "samples": [], "events": [], "checkpoint": [1]}.get(
            place, [1, 2]
        )
        for picture in run.samples.rglob("*.png"):
            Image.open(picture).load()
        if run.checkpoint_steps():  # with room again, the run ends as if nothing had been
            assert equal(style_tensors(resume(run).style), style_tensors(expected(quick, tmp_path)))


def expected(quick, tmp_path: Path) -> Path:
    style = tmp_path / "expected" / "dusk" / "style" / "dusk.safetensors"
    return style if style.exists() else train(quick(), tmp_path / "expected").style


def fill_the_disk(patch: pytest.MonkeyPatch, is_there) -> None:
    """Whoever opens a file for writing at such a path finds the disk full after half of what is written."""
    import builtins
    import io

    real = io.open

    class Full:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

        def write(self, data):
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

    def opening(file, mode="r", *arguments, **options):
        opened = real(file, mode, *arguments, **options)
        if isinstance(file, str | Path) and any(c in mode for c in "wax+") and is_there(Path(file)):
            return Full(opened)
        return opened

    patch.setattr(io, "open", opening)
    patch.setattr(builtins, "open", opening)


# ---------------------------------------------------------------------------------------------- what is left to look at
def test_the_tracker_writes_into_the_run_folder(quick, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train(quick({"train": {"tracker": "tensorboard", "steps": 3}}), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"dusk"}
    logs = EventAccumulator(str(result.run / "logs" / "velatura"))
    logs.Reload()
    losses = [event["loss"] for event in events_of(Run(result.run), "step")]
    assert [scalar.value for scalar in logs.Scalars("loss")] == pytest.approx(losses)
    assert [scalar.step for scalar in logs.Scalars("loss")] == [1, 2, 3]


def test_the_grid_shows_before_and_after(quick, tmp_path):
    layer = {"sample": {"prompts": ["a fox", "a boat"], "seeds": [1, 2], "size": 64, "every": 1}}
    result = train(quick(layer), tmp_path)
    assert result.grid == result.run / "samples" / "before-after.png"
    grid = Image.open(result.grid).convert("RGB")
    side, gap, label = 64, 8, 84
    assert grid.width == label + 4 * (side + gap) + gap
    assert grid.height > 2 * (side + gap)
    left = label + 3 * (side + gap)
    cells = [grid.crop((left, y, left + side, y + side)) for y in (grid.height - 148, grid.height - 76)]
    after = Image.open(result.run / "samples" / "final" / "03.png")
    assert cells[1].tobytes() == after.tobytes()
    assert cells[0].tobytes() == Image.open(result.run / "samples" / "step-00000000" / "03.png").tobytes()
    assert len(set(after.get_flattened_data() if hasattr(after, "get_flattened_data") else after.getdata())) > 100
    samples = {path.name for path in (result.run / "samples").iterdir()}
    assert samples == {"before-after.png", "final", "step-00000000", "step-00000001", "step-00000002"}


def test_what_was_left_out_is_said(quick, tmp_path, tiny_bases):
    folder = write_images(tmp_path / "images")
    (folder / "broken.png").write_bytes((folder / "fox.png").read_bytes()[:200])
    (folder / "twin.png").write_bytes((folder / "fox.png").read_bytes())
    events: list[dict[str, Any]] = []
    result = train(quick_settings(tiny_bases["sd1"], folder), tmp_path / "out", listener=events.append)
    warnings = [event["message"] for event in events if event["type"] == "warning"]
    assert any("broken.png was left out" in words for words in warnings)
    assert any("the same: fox.png, twin.png" in words for words in warnings)
    assert [event["type"] for event in events] == [e["type"] for e in read_events(result.run)]
    assert next(e for e in events if e["type"] == "images")["count"] == 4
