"""The denoiser: what it is shown with which words, what it is to predict, and that training it helps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from tests.tools.starter.small import SCHEDULE, TAUGHT, make_small_autoencoder, make_small_denoiser, read_log
from tools.starter.drawings.captions import BACKGROUNDS
from tools.starter.drawings.looks import print_in_ink, read_looks
from tools.starter.drawings.render import open_drawings
from tools.starter.drawings.sets import Concepts
from tools.starter.networks import denoiser, text
from tools.starter.networks.autoencoder import on_white
from tools.starter.networks.denoiser import (
    SCHEDULER,
    SHARES,
    VIEWS,
    Lesson,
    Lessons,
    Pair,
    make_denoiser,
    pick_batch,
    plain,
    prepare_lessons,
    train_denoiser,
    view_drawings,
)
from tools.starter.networks.text import make_text_encoder
from trainers.models.schedule import schedule_from_config
from trainers.randomness import generator

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lessons_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("denoiser")


@pytest.fixture(scope="module")
def lessons(lessons_folder, drawings) -> Lessons:
    torch.manual_seed(0)
    return prepare_lessons(lessons_folder, drawings, make_small_autoencoder().eval(), CPU)


def test_it_predicts_noise_of_the_latents_size_and_attends_below_16_px():
    model = make_denoiser()
    with torch.no_grad():
        found = model(torch.zeros(1, 4, 16, 16), torch.tensor([3]), torch.zeros(1, 77, 192)).sample
    assert found.shape == (1, 4, 16, 16)
    attending = [hasattr(block, "attentions") for block in (*model.down_blocks, model.mid_block, *model.up_blocks)]
    assert attending == [False, True, True, True, True, True, False]
    heads = {module.heads for name, module in model.named_modules() if name.endswith("attn2")}
    assert heads == {4}


def test_adamw_trains_embeddings_and_the_ends(tokenizer):
    pair = Pair(make_text_encoder(tokenizer), make_small_denoiser())
    names = {name for name, parameter in pair.named_parameters() if parameter.ndim > 1 and plain(name)}
    ends = {"unet.conv_in.weight", "unet.conv_out.weight"}
    assert ends < names and {name.split("embedding.")[0].split(".")[-1] for name in names - ends} == {
        "token_", "position_", "time_",
    }  # fmt: skip


def test_a_drawing_has_five_views_on_white_and_on_two_colours(drawings):
    pixels = open_drawings(drawings, "noto").pixels[0].copy()
    views, names = view_drawings(pixels, 3)
    assert views.shape == (VIEWS, 3, 128, 128) and len(names) == VIEWS == len(SHARES)
    assert torch.allclose(views[0], on_white(pixels[None])[0], atol=1 / 127)  # a byte of rounding at the edges
    assert names[:3] == ("", "", "") and len({*names[3:], *BACKGROUNDS}) == len(BACKGROUNDS) and names[3] != names[4]
    colours = [(255, 255, 255)] * 3 + [BACKGROUNDS[name] for name in names[3:]]
    corners = ((views[:, :, 0, 0] + 1) * 127.5).round()
    assert corners.tolist() == [list(colour) for colour in colours]


def test_views_are_a_function_of_the_drawing_s_number(drawings):
    pixels = open_drawings(drawings, "noto").pixels[0].copy()
    first, again = (view_drawings(pixels, 3) for _ in range(2))
    assert torch.equal(first[0], again[0]) and first[1] == again[1]
    others = [view_drawings(pixels, index) for index in range(4, 30)]
    assert not any(torch.equal(first[0][1], views[1]) for views, _ in others)
    assert {name for _, names in others for name in names[3:]} == set(BACKGROUNDS)


def test_later_views_are_smaller_by_a_fifth_at_most_and_stay_inside():
    pixels = np.zeros((128, 128, 4), np.uint8)
    pixels[..., 3] = 255  # black all over
    sides = []
    for index in range(60):
        views, _ = view_drawings(pixels, index)
        assert (views[0] == -1).all()
        dark = views[1, 0] < -0.9
        rows, columns = dark.any(1).sum().item(), dark.any(0).sum().item()
        assert rows == columns and dark.sum() == rows * columns
        sides.append(rows)
    assert 102 <= min(sides) < 108 and 122 < max(sides) <= 128


def test_lessons_are_the_taught_concepts_in_every_look(lessons, drawings):
    looks = read_looks()
    assert [(lesson.concept, lesson.style) for lesson in lessons.entries] == [
        (concept, look.style) for look in looks for concept in TAUGHT
    ]
    assert lessons.latents.shape == (len(looks) * len(TAUGHT), VIEWS, 4, 16, 16)
    assert lessons.latents.std().item() == pytest.approx(1, rel=1e-5)
    ink = next(place for place, look in enumerate(looks) if look.style == "ink")
    place = open_drawings(drawings, looks[ink].drawings).find(TAUGHT)[TAUGHT[2]]
    number = ink * len(TAUGHT) + 2
    views, names = view_drawings(print_in_ink(open_drawings(drawings, looks[ink].drawings).pixels[place]), number)
    assert lessons.entries[number].backgrounds == names
    torch.manual_seed(0)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        latents = make_small_autoencoder().eval().encode(views).latent_dist.mean
    assert torch.allclose(lessons.latents[number], latents.float() * lessons.scale)


def test_lessons_are_encoded_once(lessons, lessons_folder, drawings):
    torch.manual_seed(1)
    again = prepare_lessons(lessons_folder, drawings, make_small_autoencoder().eval(), CPU)  # of other random values
    assert torch.equal(lessons.latents, again.latents) and lessons.entries == again.entries


def test_a_batch_pairs_latents_with_their_words():
    concepts = Concepts({"animals": ("fox", "ant", "owl")}, (), {})
    names = [("", "", "", first, second) for first, second in (("red", "blue"), ("green", "black"), ("pink", "grey"))]
    styles = ("glossy", "sticker", "cartoon")
    entries = tuple(Lesson(*entry) for entry in zip(concepts.taught, styles, names, strict=True))
    codes = torch.arange(3)[:, None] * 10 + torch.arange(VIEWS)
    known = Lessons(entries, codes[..., None, None, None].expand(-1, -1, 4, 16, 16).float(), 1.0)
    latents, captions = pick_batch(known, concepts, 4_000, generator("batch"))
    assert latents.shape == (4_000, 4, 16, 16) and len(captions) == 4_000
    drawn = Counter()
    for code, caption in zip(latents[:, 0, 0, 0].int().tolist(), captions, strict=True):
        lesson, view = entries[code // 10], code % 10
        drawn[view] += 1
        if caption:
            words, *rest = caption.split(", ")
            assert words.split()[-1] == lesson.concept
            background = f"{lesson.backgrounds[view]} background"
            assert rest in ([], [lesson.style], [f"{lesson.style} style"]) if view < 3 else rest.pop() == background
            assert set(rest) <= {lesson.style, f"{lesson.style} style"}
    assert sum(SHARES) == pytest.approx(1)
    assert [drawn[view] / 4_000 for view in range(VIEWS)] == pytest.approx(SHARES, abs=0.025)


def test_the_last_timestep_is_pure_noise():
    schedule = schedule_from_config(SCHEDULER, "v_prediction")
    plain_one = schedule_from_config({**SCHEDULER, "rescale_betas_zero_snr": False}, "v_prediction")
    assert schedule.zero_terminal_snr and not plain_one.zero_terminal_snr
    assert schedule.steps == 1000 and (schedule.alphas_cumprod.diff() < 0).all()
    starts = [s.alphas_cumprod[0].item() for s in (schedule, plain_one)]
    assert starts == pytest.approx([1 - 0.00085] * 2, rel=1e-9)


def test_diffusers_draws_on_the_schedule_that_was_trained():
    schedule = schedule_from_config(SCHEDULER, "v_prediction")
    scheduler = diffusers.DDIMScheduler(**SCHEDULER)
    assert scheduler.alphas_cumprod.numpy() == pytest.approx(schedule.alphas_cumprod.numpy(), abs=1e-6)
    t = torch.tensor([0, 500, 999])
    latents, noise = (torch.randn(3, 4, 2, 2, generator=generator("v", name)) for name in ("latents", "noise"))
    kept = schedule.alphas_cumprod[t].view(3, 1, 1, 1)
    signal, sigma = kept.sqrt().float(), (1 - kept).sqrt().float()
    velocity = schedule.target(latents, noise, t)
    assert torch.allclose(velocity, signal * noise - sigma * latents, atol=1e-6)
    assert torch.allclose(velocity, scheduler.get_velocity(latents, noise, t), atol=1e-4)
    assert torch.allclose(velocity[2], -latents[2], atol=1e-6)  # of pure noise, the picture is to be predicted
    noisy = schedule.add_noise(latents, noise, t)
    assert torch.allclose(signal * noisy - sigma * velocity, latents, atol=1e-5)
    scheduler.set_timesteps(25)
    assert scheduler.timesteps[0] == 999


@pytest.mark.thorough
@pytest.mark.slow
def test_training_lowers_the_loss_on_fixed_noise(lessons, tokenizer, tmp_path, monkeypatch, every_step_is_logged):
    monkeypatch.setattr(denoiser, "make_denoiser", make_small_denoiser)
    monkeypatch.setattr(text, "LAYERS", 1)
    torch.manual_seed(1)
    encoder = make_text_encoder(tokenizer)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    schedule = replace(SCHEDULE, steps=20, measure_every=5)
    unet = train_denoiser(tmp_path, lessons, encoder, tokenizer, CPU, schedule)
    lines = read_log(tmp_path)
    measured = [line["fixed noise"] for line in lines if "fixed noise" in line]
    assert len(measured) == 4 and len(lines) == 24
    assert lines[0]["loss"] > 0.8 and measured[-1] < 0.9 * measured[0]
    assert isinstance(unet, diffusers.UNet2DConditionModel) and not unet.training
    assert not torch.equal(encoder.state_dict()["final_layer_norm.weight"], before["final_layer_norm.weight"])
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert {name.split(".")[0] for name in state["model"]} == {"text_encoder", "unet"}
    rates = {(group["use_muon"], round(group["highest"], 6)) for group in state["optimizer"]["param_groups"]}
    assert rates == {(True, 0.02), (True, 0.006), (False, 0.002), (False, 0.0006)}
