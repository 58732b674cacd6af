"""What holds for every family of flow-matching transformers; the facts come from its class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.tiny_flow import FLOWS, tiny_flow
from tests.trainers.tiny_runs import quick_settings
from trainers.adapters.roles import timesteps_of_call
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.models.bases.recognise import settings_of_base
from trainers.models.bases.suits import check_base
from trainers.models.families import get_family
from trainers.models.model import Model
from trainers.runs.run import Run, write_config
from trainers.sampling.sample import SamplingParams, draw
from trainers.score.activations import change, observe, style_distance
from trainers.training.train import resume, train

IDLE: Mapping[str, Mapping[str, Any]] = {
    "base.clip_skip": {"base": {"clip_skip": 2}},
    "data.chunks": {"data": {"chunks": 2}},
}
LONG = "a fox and the moon, " * 8
"""More tokens than CLIP reads at once; each letter is one."""


@contextmanager
def times_of(denoiser: nn.Module) -> Iterator[list[Tensor]]:
    """The timesteps of each call of a denoiser, as methods see them."""
    seen: list[Tensor] = []

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        seen.append(timesteps_of_call(module, args, kwargs).float())

    handle = denoiser.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def settings(changes: Mapping[str, Mapping[str, Any]]) -> Config:
    return build_config({"name": "x", "sample": {"sampler": "euler"}, "targets": {"unet": "attn"}, **changes})


@pytest.fixture(params=FLOWS)
def model(request: pytest.FixtureRequest, flow_models: Mapping[str, Model]) -> Model:
    return flow_models[request.param]


def test_methods_see_the_timesteps_whatever_time_the_network_takes(model: Model) -> None:
    t = torch.tensor([250.0, 1000.0])
    with torch.no_grad(), times_of(model.denoiser) as seen:
        model.predict(torch.zeros(2, model.latent_channels, 4, 4), t, model.encode(["a", "b"]), None, 3.0)
    assert len(seen) == 1 and torch.allclose(seen[0], t, atol=1e-3)


def test_pictures_are_drawn_at_the_timesteps_of_diffusers(model: Model) -> None:
    pipeline = tiny_flow(model.family.name)
    with times_of(pipeline.transformer) as theirs:
        pipeline(prompt="a cat", num_inference_steps=3, width=64, height=96, output_type="latent")
    with times_of(model.denoiser) as ours:
        list(draw(model, SamplingParams(("a cat",), steps=3, size=(64, 96), sampler="euler")))
    drawn, expected = torch.cat(ours).unique(), torch.cat(theirs).unique()
    assert len(expected) == 3 and torch.allclose(drawn, expected, atol=1e-2), (drawn, expected)


def test_a_middle_block_sees_a_pictures_style_and_content(model: Model) -> None:
    side = 4 * model.stride
    wide = torch.rand((2, 3, side, 2 * side), generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = observe(model, wide)
    (count, channels, places) = seen.content.shape
    assert seen.style.shape == (2, 2 * channels) and count == 2 and places >= 4 * 8
    assert seen.content.norm(dim=1).sub(1).abs().max() < 1e-4
    assert style_distance(seen.style[:1], seen.style[1:]) > 0
    assert change(seen, observe(model, wide)).max() < 1e-5
    assert not model.denoiser._forward_hooks


def test_memory_is_planned_for_the_positions_that_text_takes(model: Model) -> None:
    assert model.encode(["a fox"]).context.shape[1] == model.family.text_positions


@pytest.mark.parametrize("key", IDLE)
def test_a_setting_of_the_text_acts_or_is_refused(key: str, model: Model) -> None:
    plain, changed = model.encode([LONG]).context, model.encode([LONG], **dict(*IDLE[key].values())).context
    acts = plain.shape != changed.shape or not torch.equal(plain, changed)
    problems = model.family.config_problems(settings(IDLE[key]))
    assert acts == (key not in problems), problems


def test_a_frozen_text_encoder_cannot_be_a_target(model: Model) -> None:
    config = settings({"targets": {"unet": "attn", "text_encoder": "attn"}})
    refused = "targets.text_encoder" in model.family.config_problems(config)
    assert refused == (not model.family.trained_encoders)


def test_a_run_of_an_earlier_version_goes_on_with_a_setting_that_is_refused_now(
    flow_folders: Mapping[str, Path], images: Path, tmp_path: Path
) -> None:
    folder = flow_folders["z-image"]
    config = quick_settings(folder, images, settings_of_base(str(folder)), {"targets": {"unet": "attn"}})
    run = Run(train(config, tmp_path).run)
    old = config.model_copy(update={"base": config.base.model_copy(update={"clip_skip": 2})})
    with pytest.raises(VelaturaError, match=r"base\.clip_skip does not apply to Z-Image"):
        check_base(old)
    write_config(run, old)
    again = resume(run, steps=3)
    assert again.steps == 3 and get_family("z-image").config_problems(Run(again.run).config())
