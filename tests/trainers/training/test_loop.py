"""The loop: what it keeps for backward, whom it calls and when, and what it does with numbers that are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from tests.trainers.tiny_runs import (
    equal,
    events_of,
    files_in,
    state_of,
    stopping_at,
    style_metadata,
    style_tensors,
)
from trainers.adapters.hooks import TrainingHooks
from trainers.adapters.method import SETTINGS
from trainers.adapters.methods.lora import LoRA
from trainers.config.config import Config
from trainers.data import cache
from trainers.errors import VelaturaError
from trainers.runs.events import Event, read_events
from trainers.runs.run import Run, write_config
from trainers.training import loop, opening
from trainers.training.step import batches
from trainers.training.train import resume, train

pytestmark = pytest.mark.usefixtures("no_pictures")


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


class RecordingHooks(TrainingHooks):
    """Hooks that write down when they are called."""

    def begin_step(self, network, step):
        CALLS.append(("begin_step", step.number))
        assert (step.of, step.seed, len(step.rates)) == (2, 0, 2)

    def penalty(self, network):
        CALLS.append(("penalty", network.holder.context.draw))
        penalty = 1e-3 * sum(p.square().sum() for p in network.parameters())
        PENALTIES.append(penalty.item())
        return penalty

    def after_backward(self, network, step):
        assert any(p.grad is not None for p in network.parameters())
        CALLS.append(("after_backward", step.number))

    def after_step(self, network, step):
        CALLS.append(("after_step", step.number))


@dataclass(frozen=True, config=SETTINGS)
class Recording(LoRA):
    """A LoRA with those hooks."""

    @property
    def hooks(self):
        return RecordingHooks()


CALLS: list[tuple[str, int]] = []
PENALTIES: list[float] = []


def test_the_hooks_of_a_method_are_called_in_order(quick, tmp_path):
    CALLS.clear()
    PENALTIES.clear()
    config = quick({"train": {"accumulation": 2}})
    train(config, tmp_path / "plain")
    method = Recording(rank=3, alpha=2.0)
    train(config.model_copy(update={"method": method}), tmp_path)
    steps = [
        [("begin_step", s), ("penalty", 2 * s), ("penalty", 2 * s + 1), ("after_backward", s), ("after_step", s)]
        for s in (0, 1)
    ]
    assert [*steps[0], *steps[1]] == CALLS
    (bare, _), (first, second) = (events_of(Run(out / "dusk"), "step") for out in (tmp_path / "plain", tmp_path))
    assert first["loss"] == bare["loss"] and "penalty" not in bare  # what is shown compares between methods
    assert first["penalty"] == pytest.approx(PENALTIES[0], rel=1e-3) and first["penalty"] > 0 < second["penalty"]


@dataclass(frozen=True, config=SETTINGS)
class Overflowing(LoRA):
    """A LoRA whose factor overflows after a step, or whose gradient does in one step only (0-based; −1 = never)."""

    theta_at: int = -1
    gradient_at: int = -1

    @property
    def hooks(self):
        return OverflowingHooks(self)


@dataclasses.dataclass(frozen=True)
class OverflowingHooks(TrainingHooks):
    method: Overflowing

    def after_backward(self, network, step):
        if step.number == self.method.gradient_at:
            next(p for p in network.parameters() if p.grad is not None).grad[0] = float("nan")

    def after_step(self, network, step):
        if step.number == self.method.theta_at:
            with torch.no_grad():
                network.sites[0].thetas[0].B[0] = float("inf")


@dataclasses.dataclass(frozen=True)
class StumblingHooks(TrainingHooks):
    """Hooks after which the gradients are not finite in some steps (0-based), until the learning rate is halved."""

    at: tuple[int, ...]
    halved: list[bool]

    def after_backward(self, network, step):
        if step.number in self.at and not self.halved:
            next(p for p in network.parameters() if p.grad is not None).grad[0] = float("nan")


@pytest.fixture
def stumbling(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let LoRA stumble in steps, until the learning rate is halved."""
    set_rate, halved = loop.set_learning_rate, []

    def note(optimizer, step, settings):
        halved[:] = [True] if optimizer.param_groups[0]["peak_lr"] == settings.learning_rate / 2 else []
        return set_rate(optimizer, step, settings)

    def stumble(*at: int) -> None:
        monkeypatch.setattr(LoRA, "hooks", property(lambda _: StumblingHooks(at, halved)))

    monkeypatch.setattr(loop, "set_learning_rate", note)
    return stumble


def overflowing(config: Config, **at: int) -> Config:
    return config.model_copy(update={"method": Overflowing(rank=3, alpha=2.0, **at)})


def test_one_bad_step_is_left_out_and_the_run_goes_on(quick, tmp_path):
    config = overflowing(quick({"train": {"steps": 4, "ema": 0.9}, "save": {"keep": 9}}), gradient_at=1)
    result = train(config, tmp_path)
    run = Run(result.run)
    assert result.skipped == 1 and [event["skipped"] for event in events_of(run, "done")] == [1]
    assert [event["step"] for event in events_of(run, "skipped")] == [2]
    assert events_of(run, "skipped")[0]["grad_norm"] == "nan"
    assert [event["step"] for event in events_of(run, "step")] == [1, 3, 4] and result.steps == 4
    assert run.checkpoint_steps() == [1, 3, 4]  # none at the bad step
    assert '"skipped": 1' in (run.checkpoint(4) / "progress.json").read_text()
    assert all(bool(tensor.isfinite().all()) for tensor in style_tensors(result.style).values())


def test_several_bad_steps_in_a_row_end_the_run_and_keep_the_last_good_checkpoint(quick, tmp_path):
    plain = quick({"train": {"steps": 9}, "save": {"every": 2}})
    config = overflowing(plain, theta_at=2)
    words = "for 5 steps in a row, up to step 8, also with half the learning rate; the checkpoint of step 2 is kept"
    with pytest.raises(VelaturaError, match=words):
        train(config, tmp_path)
    run = Run(tmp_path / "dusk")
    assert run.checkpoint_steps() == [2]
    assert [event["step"] for event in events_of(run, "skipped")] == 2 * [4, 5, 6, 7, 8]
    assert [(event["step"], event["saved"]) for event in events_of(run, "rollback")] == [(8, 2)]
    assert [event.get("code") for event in events_of(run, "error")] == ["diverged"]
    assert not files_in(run.style) if run.style.exists() else True
    write_config(run, plain)  # an ordinary LoRA goes on from the good checkpoint
    assert resume(run).steps == 9


def test_what_overflowed_is_never_saved_or_exported(quick, tmp_path):
    config = overflowing(quick({"train": {"steps": 6}}), theta_at=1)
    with pytest.raises(
        VelaturaError,
        match=r"the trained parameters overflowed, up to step 2, also with half.*the checkpoint of step 1 is",
    ):
        train(config, tmp_path)
    run = Run(tmp_path / "dusk")
    assert run.checkpoint_steps() == [1] and not (run.style / "dusk.safetensors").exists()
    assert all(bool(tensor.isfinite().all()) for tensor in state_of(run, 1).values())


def test_a_learning_rate_beyond_reason_ends_in_advice(quick, tmp_path):
    layers = {"train": {"steps": 40, "learning_rate": 10.0, "max_grad_norm": 0, "weight_decay": 10.0}}
    with pytest.raises(VelaturaError, match=r"Lower train.learning_rate \(now 10, try 2.5\)"):
        train(quick(layers, {"method": {"alpha": 4096.0, "rank": 1}}), tmp_path)


def test_what_is_exported_is_the_average_of_the_steps(quick, tmp_path):
    """e ← d·e + (1 − d)·θ from θ at the start, with d = min(0.9, (1 + n) / (10 + n)) at update n."""
    config = quick({"train": {"steps": 3, "ema": 0.9}, "save": {"keep": 9}})
    run = Run(train(config, tmp_path).run)
    states = [state_of(run, step) for step in (1, 2, 3)]
    name = next(name for name in states[0] if name.startswith("network") and name.endswith("B"))
    expected = torch.zeros_like(states[0][name])  # B starts at zero
    for number, state in enumerate(states, 1):
        decay = (1 + number) / (10 + number)
        expected = decay * expected + (1 - decay) * state[name]
    torch.testing.assert_close(states[2][name.replace("network", "average")], expected)
    path = name.split("/", 1)[1].split(".")[0].replace("/", "_")
    up = style_tensors(run.style / "dusk.safetensors")[f"lora_unet_{path}.lora_up.weight"]
    torch.testing.assert_close(up, expected)  # alpha / rank is the reader's


def test_prodigy_trains_the_text_encoder_at_its_one_rate(quick, tmp_path):
    layers = {"targets": {"text_encoder": "attn"}, "train": {"optimizer": "prodigy", "learning_rate": 1.0}}
    result = train(quick(layers, {"train": {"steps": 3}}), tmp_path)
    tensors = style_tensors(result.style)
    assert any(bool(tensor.any()) for name, tensor in tensors.items() if "lora_te" in name and "lora_up" in name)
    written = style_metadata(result.style)
    assert (written["ss_text_encoder_lr"], written["ss_min_snr_gamma"]) == ("1.0", "5.0")


MORE_STATE = {"targets": {"text_encoder": "attn"}, "train": {"steps": 10, "ema": 0.9, "text_encoder_stop": 0.2}}


@pytest.mark.parametrize(
    ("at", "failed", "back"),
    [
        ((3, 4, 5, 6, 7), 8, 2),  # in a row
        pytest.param((0, 1, 2, 3, 5, 6), 7, 5, marks=pytest.mark.thorough),  # more than a tenth of the last steps
        pytest.param((0, 1, 2, 3, 4), 5, 0, marks=pytest.mark.thorough),
    ],
)
def test_a_run_goes_back_once_and_ends_with_the_same_bits_wherever_it_is_cut(
    at, failed, back, quick, stumbling, tmp_path
):
    config = quick(MORE_STATE, {"save": {"every": back or 5}})
    stumbling(*at)
    whole = train(config, tmp_path / "whole")
    events = list(read_events(whole.run))
    (event,) = events_of(Run(whole.run), "rollback")
    assert (event["step"], event["saved"], event["lr"]) == (failed, back, 0.005)
    assert event["message"].endswith(f"back from step {failed} to step {back}, with half the learning rate (0.005)")
    after = [e for e in events[events.index(event) :] if e["type"] == "step"]
    assert [e["step"] for e in after] == list(range(back + 1, 11)) and {e["lr"] for e in after} == {0.005}

    for kind, step in (("skipped", failed), ("step", back + 1)):  # just before it goes back, and just after
        run = Run(tmp_path / kind / "dusk")

        def kill(event: Event, run: Run = run, kind: str = kind, step: int = step) -> None:
            went_back = bool(events_of(run, "rollback"))
            if event["type"] == kind and event["step"] == step and went_back == (kind == "step"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(config, run.folder.parent, listener=kill)
        again = resume(run)
        assert len(events_of(run, "rollback")) == (2 if kind == "step" else 1)
        assert equal(state_of(run, 10), state_of(Run(whole.run), 10)), kind
        assert equal(style_tensors(again.style), style_tensors(whole.style)), kind

    run = Run(tmp_path / "paused" / "dusk")

    def stop(event: Event) -> None:
        if events_of(run, "rollback") and event["type"] == "step" and event["step"] == 7:
            run.ask_to_stop("pause")

    train(config, run.folder.parent, listener=stop)
    assert run.checkpoint_steps()[-1] == 7
    resume(run)
    assert equal(state_of(run, 10), state_of(Run(whole.run), 10)) and len(events_of(run, "rollback")) == 1


def broken(values: Tensor) -> Tensor:
    with torch.no_grad():
        values[..., 0] = float("nan")
    return values


def break_base(monkeypatch, _name: str) -> None:
    load = opening.load_model

    def load_broken(*args: Any) -> Any:
        model = load(*args)
        broken(model.denoiser.conv_out.weight)
        return model

    monkeypatch.setattr(opening, "load_model", load_broken)


def break_images(monkeypatch, name: str) -> None:
    """Let the VAE return no number for an image, or for all of them."""
    read = batches.pixels, cache.pixels
    for module, original in zip((batches, cache), read, strict=True):

        def pixels(item: Any, draw: Any, original: Any = original) -> Tensor:
            found = original(item, draw)
            return broken(found) if name in item.path.name else found

        monkeypatch.setattr(module, "pixels", pixels)


@pytest.mark.parametrize(
    ("break_it", "name", "words"),
    [
        (break_base, "", r"5 steps in a row: .* itself returns numbers that are not finite, without anything trained"),
        (break_images, "", "5 steps in a row: the VAE of .* returns no finite numbers for any image"),
        (
            break_images,
            "fox",
            r"in 6 of the last \d+ steps: the VAE returns no finite numbers for 0001-fox.png;",
        ),
    ],
    ids=["base", "vae", "image"],
)
def test_what_is_not_the_learning_rate_s_fault_is_named_at_once(break_it, name, words, quick, tmp_path, monkeypatch):
    break_it(monkeypatch, name)
    with pytest.raises(VelaturaError, match=words) as raised:
        train(quick({"train": {"steps": 30}}), tmp_path)
    assert raised.value.code == "refused" and "learning_rate" not in str(raised.value)
    assert events_of(Run(tmp_path / "dusk"), "rollback") == []


@pytest.mark.parametrize("rate", [1e-44, pytest.param(1e-12, marks=pytest.mark.thorough)])
def test_a_style_that_changes_nothing_is_refused_at_the_end_and_kept_when_stopped(rate, quick, tmp_path):
    config, run = quick({"train": {"learning_rate": rate, "steps": 3}}), Run(tmp_path / "dusk")
    words = "the style changes nothing: no .W is larger than the rounding of its weight after 3 steps. Raise"
    assert train(config, tmp_path, listener=stopping_at(run, 2)).style is not None
    assert [event["message"][:29] for event in events_of(run, "warning")] == ["the style changes nothing: no"]
    with pytest.raises(VelaturaError, match=words):
        resume(run)
    assert run.checkpoint_steps()[-1] == 3


def test_a_style_that_the_file_s_format_rounds_away_is_said(quick, tmp_path):
    config = quick({"train": {"learning_rate": 1e-4}, "save": {"precision": "bf16"}})
    run = Run(train(config, tmp_path).run)
    (event,) = events_of(run, "warning")
    assert event["message"].startswith(
        "the style's changes are so small that weights in bf16 round most of them away after 2 "
    )
