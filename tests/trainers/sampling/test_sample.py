"""Pictures are a function of prompt and seed, and of nothing drawn beside them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from tests.pairs import seldom_but
from trainers.composition.apply import apply_styles
from trainers.composition.batched import batch_styles
from trainers.composition.schedule import StylePerImage
from trainers.config.sections import Base
from trainers.models.load import load_model
from trainers.sampling.sample import SamplingParams, draw, largest_difference, to_image

PARAMS = SamplingParams(prompts=("a fox",), seeds=(1,), steps=2, guidance=5.0, size=(48, 32))


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def model(request, tiny_bases):
    return load_model(Base(model=str(tiny_bases[request.param])), torch.float32, "cpu")


def drawn(model, **changed) -> list[Image.Image]:
    return list(draw(model, dataclasses.replace(PARAMS, **changed)))


def test_pictures_come_in_order_each_as_if_alone(model):
    params = dataclasses.replace(PARAMS, prompts=("a fox", "a boat"), seeds=(1, 2))
    assert params.pictures == [("a fox", 1), ("a fox", 2), ("a boat", 1), ("a boat", 2)]
    pictures = list(draw(model, params))
    assert {picture.size for picture in pictures} == {(48, 32)}
    assert len({picture.tobytes() for picture in pictures}) == 4
    (alone,) = drawn(model, prompts=("a boat",), seeds=(2,))
    assert alone.tobytes() == pictures[3].tobytes()


@pytest.mark.parametrize(
    "changed",
    [{"negative": "snow"}, {"guidance": 1.0}, {"steps": 3}, {"sampler": "euler"}, {"sampler": "dpm++"}, {"chunks": 2}],
)
def test_every_setting_changes_the_picture(changed, model):
    assert drawn(model)[0].tobytes() != drawn(model, **changed)[0].tobytes()


def test_drawing_leaves_the_global_generator_and_the_model_alone(model):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    weights = {name: tensor.clone() for name, tensor in model.denoiser.state_dict().items()}
    drawn(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.denoiser.state_dict().items())
    assert all(parameter.grad is None for parameter in model.denoiser.parameters())


def test_guidance_follows_its_formula(model):
    """One DDIM step: the prediction is ε₋ + g (ε₊ − ε₋), so the latent pictures are affine in g before decoding."""
    from trainers.sampling import sample

    latents = []

    def keep(model, value):
        latents.append(value)
        return torch.zeros(3, 8, 8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "decode", keep)
        for guidance in (2.0, 22.0, 42.0):
            drawn(model, steps=1, guidance=guidance)
    torch.testing.assert_close(latents[1] - latents[0], latents[2] - latents[1], rtol=1e-3, atol=1e-5)
    assert (latents[1] - latents[0]).abs().max() > 5e-3


def test_pixels_become_bytes():
    pixels = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]).expand(3, 1, 5)
    assert np.asarray(to_image(pixels))[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    apart = torch.stack([torch.full((2, 4), value) for value in (-1.0, 0.0, 1.0)])
    assert to_image(apart).getpixel((3, 1)) == (0, 128, 255) and to_image(apart).size == (4, 2)


def test_the_largest_difference_is_of_any_channel():
    black, almost = Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4))
    almost.putpixel((2, 3), (0, 250, 7))
    assert largest_difference([black, black], [black, almost]) == 250
    assert largest_difference([almost], [black]) == 250
    with pytest.raises(ValueError, match="zip"):
        largest_difference([black], [black, black])


@pytest.fixture(scope="module")
def styles(model, tmp_path_factory):
    """Two styles of different methods and ranks that change the text encoders, too."""
    from tests.trainers.formats.other_clients import MIXED, trained
    from trainers.adapters.methods.lokr import LoKr
    from trainers.adapters.methods.lora import LoRA
    from trainers.formats.read import read_style
    from trainers.formats.write.core import write_style

    folder = tmp_path_factory.mktemp("styles")
    for number, method in enumerate((LoRA(rank=2, alpha=3.0), LoKr(rank=2, alpha=3.0, factor=4))):
        network = trained(model, method, MIXED)
        network.remove()
        write_style(folder / f"{number}.safetensors", network, model.family.name, model.denoiser.config, {}, "fp32")
    return [(read_style(folder / f"{number}.safetensors"), 0.8) for number in range(2)]


def calls_while(model, pictures) -> tuple[list[Image.Image], int]:
    calls: list[int] = []
    handle = model.denoiser.register_forward_hook(lambda *_: calls.append(1))
    try:
        return list(pictures), len(calls)
    finally:
        handle.remove()


@pytest.mark.parametrize("model", seldom_but(("sd1",), ("sd1", "sdxl")), indirect=True)
def test_a_batch_of_styles_is_each_drawn_alone(model, styles):
    """Each with its text read under its style and noise of its own seed; a call a step, however many there are."""
    guidance, sampler = (5.0, "ddim") if model.family.name == "sd1" else (1.0, "dpm++")
    params = dataclasses.replace(
        PARAMS, prompts=("a fox", "a boat"), negative="snow", guidance=guidance, sampler=sampler
    )
    by_style = []
    for applied in ([styles[1]], [], [styles[0]]):
        network = apply_styles(model.parts, model.family.name, applied)
        by_style.append(list(draw(model, params)))
        network.remove()
    alone = [pictures[prompt] for prompt in range(2) for pictures in by_style]
    network = batch_styles(model.parts, model.family.name, styles)
    told: list[tuple[int, int]] = []
    for batch, calls in ((8, params.steps), (4, 2 * params.steps)):
        several = draw(
            model,
            dataclasses.replace(params, batch=batch),
            lambda *where: told.append(where),
            StylePerImage(network, (1, -1, 0)),
        )
        found, counted = calls_while(model, several)
        assert counted == calls
        assert largest_difference(found, alone) <= 1
    network.remove()
    assert len({picture.tobytes() for picture in alone}) == 6
    assert len(told) == 2 * 6 * params.steps and set(told) == {(p, s) for p in range(1, 7) for s in (1, 2)}
