"""The loop: what it keeps for backward, whom it calls and when, and what it does with numbers that are none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from pydantic.dataclasses import dataclass

from tests.trainers.tiny_runs import equal, events_of, files_in, state_of, style_metadata, style_tensors
from trainers.adapters.hooks import TrainingHooks
from trainers.adapters.method import SETTINGS
from trainers.adapters.methods import LoRA
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.runs.run import Run
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
    words = r"not finite for 5 steps in a row, up to step 8; the checkpoint of step 2 is kept. Lower train"
    with pytest.raises(VelaturaError, match=words):
        train(config, tmp_path)
    run = Run(tmp_path / "dusk")
    assert run.checkpoint_steps() == [2]
    assert [event["step"] for event in events_of(run, "skipped")] == [4, 5, 6, 7, 8]
    assert [event.get("code") for event in events_of(run, "error")] == ["diverged"]
    assert not files_in(run.style) if run.style.exists() else True
    # The folder's config names an ordinary LoRA, which goes on from the good checkpoint.
    assert resume(run).steps == 12


def test_what_overflowed_is_never_saved_or_exported(quick, tmp_path):
    config = overflowing(quick({"train": {"steps": 6}}), theta_at=1)
    with pytest.raises(
        VelaturaError, match=r"the trained parameters overflowed, up to step 2; the checkpoint of step 1 is"
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
