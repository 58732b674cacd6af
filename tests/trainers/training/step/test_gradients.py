"""Layers without a gradient are named after the first steps; a run in which no layer has one ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.adapters.layers import attach_to, make_layers
from tests.trainers.tiny_runs import events_of, quick_settings
from trainers.adapters.methods.lora import LoRA
from trainers.errors import VelaturaError
from trainers.runs.run import Run
from trainers.training import loop
from trainers.training.step.gradients import WATCHED, GradientWatch
from trainers.training.train import train


def watched(dead: set[str], done: int = 0, loss: float = 1.0, **settings: Any) -> tuple[list[Any], list[str]]:
    """The warnings of all watched steps, if the gradients of some layers are always 0; and the names of all layers."""
    network = attach_to(make_layers(), LoRA(rank=2, alpha=1.0))
    watch = GradientWatch(network, quick_settings("unused", Path("unused"), settings), done)
    warnings = []
    for _step in range(WATCHED - done):
        for site in network.sites:
            for parameter in site.placed[0].module.parameters():
                parameter.grad = torch.full_like(parameter, float(site.name not in dead))
        warnings.append(watch.note(watch.norms(torch.zeros(2)).tolist(), loss))
    assert not len(watch.norms(torch.zeros(2))), "nothing is watched any longer"
    return warnings, [site.name for site in network.sites]


def test_silent_layers_are_named_once_with_their_cause():
    _, names = watched(set())
    warnings, _ = watched({names[0], names[2]})
    assert warnings[:-1] == [None] * (WATCHED - 1)
    assert warnings[-1] == (
        f"2 of {len(names)} layers had no gradient in the first 20 steps and do not train ({names[0]}, {names[2]}): "
        "their output does not change the prediction; leave them out of the targets."
    )


def test_nothing_is_reported_of_layers_that_train_later_steps_or_frozen_ones():
    assert set(watched(set())[0]) == {None}
    network = attach_to(make_layers(), LoRA(rank=2, alpha=1.0))
    config = quick_settings("unused", Path("unused"))
    assert len(GradientWatch(network, config, done=WATCHED).norms(torch.zeros(2))) == 0
    watch = GradientWatch(network, config, done=WATCHED - 1)
    network.requires_grad_(False)
    assert watch.note(watch.norms(torch.zeros(2)).tolist(), 1.0) is None


@pytest.mark.parametrize(
    ("settings", "loss", "cause"),
    [
        ({}, 0.0, "the loss was 0 in each of them, as with masks that leave nothing of the images"),
        ({"train": {"precision": "fp16"}}, 1.0, "small gradients become 0 in fp16; set train.precision = bf16 or fp32"),
        ({"method": {"module_dropout": 0.9}}, 1.0, "method.module_dropout = 0.9 left them out"),
    ],
)
def test_a_run_without_any_gradient_ends_with_the_likely_cause(settings, loss, cause):
    _, names = watched(set())
    with pytest.raises(VelaturaError) as error:
        watched(set(names), loss=loss, **settings)
    assert str(error.value) == f"No layer had a gradient in the first 20 steps, so nothing is learned: {cause}."


def test_the_largest_gradient_of_each_layer_is_watched():
    network = attach_to(make_layers(), LoRA(rank=2, alpha=1.0))
    watch = GradientWatch(network, quick_settings("unused", Path("unused")), done=0)
    first, second = network.sites[:2]
    first.placed[0].module.get_parameter("A").grad = torch.full_like(first.placed[0].module.get_parameter("A"), -3.0)
    second.placed[0].module.get_parameter("B").grad = torch.zeros_like(second.placed[0].module.get_parameter("B"))
    assert watch.norms(torch.zeros(2)).tolist() == [3.0, 0.0] + [0.0] * (len(network.sites) - 2)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_records_the_layers_that_do_not_train(quick, tmp_path, monkeypatch):
    norms = GradientWatch.norms

    def first_is_dead(watch: GradientWatch, like: torch.Tensor) -> torch.Tensor:
        measured = norms(watch, like)
        return torch.cat([measured[:1] * 0, measured[1:]])

    monkeypatch.setattr(loop.GradientWatch, "norms", first_is_dead)
    run = Run(train(quick({"train": {"steps": WATCHED}}), tmp_path).run)
    (warning,) = events_of(run, "problem")
    assert warning["name"] == "gradients" and warning["message"].startswith("1 of ")
